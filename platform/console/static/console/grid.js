// The grid of images by keyboard: arrows move, Enter opens, Esc closes, m shows or hides the masks.
"use strict";

const tiles = document.getElementById("tiles");
const large = document.getElementById("large");
const near = new Set(); // pictures in sight, or about to be
let opened = null; // the link whose image is shown large

const columns = () => getComputedStyle(tiles.querySelector(".tiles")).gridTemplateColumns.split(" ").length;

function beside(tile, forward) {
  const [next, first] = forward ? ["nextElementSibling", "firstElementChild"] : ["previousElementSibling", "lastElementChild"];
  return tile[next] ?? tile.parentElement[next]?.closest(".tiles")?.[first] ?? null;
}

function fetchMore() {
  const more = tiles.querySelector(".more");
  if (more) htmx.trigger(more, "intersect");
}

function move(from, steps) {
  let tile = from.parentElement;
  for (let left = Math.abs(steps); left > 0; left--) tile = beside(tile, steps > 0) ?? tile;
  if (tile.parentElement.nextElementSibling?.matches(".more")) fetchMore();
  const link = tile.querySelector("a");
  link.focus();
  link.scrollIntoView({ block: "nearest" });
  return link;
}

async function open(link) {
  opened = link;
  const answer = await fetch(link.href, { headers: { "HX-Request": "true" } });
  // A session that ended meanwhile, or a page that cannot be made: the browser shows what it is.
  if (!answer.ok || answer.redirected) return location.assign(link.href);
  if (opened !== link) return; // moved on while it loaded
  large.innerHTML = await answer.text();
  keepMasks();
  if (!large.open) large.showModal();
}

function keepMasks() {
  const shown = document.getElementById("masks");
  if (shown && !shown.checked) chooseLayer("");
}

function chooseLayer(source) {
  for (const layer of large.querySelectorAll(".layer")) layer.hidden = layer.id !== `layer-${source}`;
  const choice = large.querySelector(`input[name="layer"][value="${source}"]`);
  if (choice) choice.checked = true;
}

function toggleLayer() {
  const off = large.querySelector('input[name="layer"][value=""]');
  if (!off) return;
  if (off.checked) return chooseLayer(large.dataset.before ?? large.querySelector('input[name="layer"]').value);
  large.dataset.before = large.querySelector('input[name="layer"]:checked').value;
  chooseLayer("");
}

function drawMask(image) {
  image.dataset.masked ??= image.getAttribute("src");
  const wanted = document.getElementById("masks").checked ? image.dataset.masked : image.dataset.plain;
  if (image.getAttribute("src") !== wanted) image.setAttribute("src", wanted);
}

// Only what is near is changed: ten thousand pictures at once would hold the page up.
const watch = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) near.delete(entry.target);
      else near.add(entry.target) && drawMask(entry.target);
    }
  },
  { rootMargin: "600px" },
);

function watchNew(inside) {
  for (const image of inside.querySelectorAll("img[data-plain]")) watch.observe(image);
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input[type=search]")) return;
  const isOpen = large?.open;
  if (event.key === "m") {
    if (isOpen || !tiles) return toggleLayer();
    document.getElementById("masks").click();
    return;
  }
  if (!tiles) return;
  const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: isOpen ? -1 : -columns(), ArrowDown: isOpen ? 1 : columns() }[event.key];
  if (!steps) return;
  event.preventDefault();
  if (isOpen) open(move(opened, steps));
  else if (document.activeElement.matches(".tile > a")) move(document.activeElement, steps);
  else move(tiles.querySelector(".tile > a"), 0);
});

document.addEventListener("click", (event) => {
  const link = event.target.closest(".tile > a");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    open(link);
  }
  if (event.target === large || event.target.closest("[data-close]")) large.close?.();
  const turn = event.target.closest("[data-turn]");
  if (turn) open(move(opened, Number(turn.dataset.turn)));
});

large?.addEventListener("change", (event) => {
  if (event.target.name === "layer") chooseLayer(event.target.value);
});
large?.addEventListener("close", () => {
  opened?.focus();
  opened = null;
});
document.getElementById("masks")?.addEventListener("change", () => near.forEach(drawMask));
document.body.addEventListener("htmx:load", (event) => tiles?.contains(event.target) && watchNew(event.target.parentElement));
if (tiles) watchNew(tiles);
