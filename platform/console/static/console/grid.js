// The grid of images by keyboard: arrows move, Enter opens, Esc closes, m shows or hides the masks.
"use strict";

const tiles = document.getElementById("tiles");
const large = document.getElementById("large");
const links = () => [...tiles.querySelectorAll(".tile > a")];
let opened = null; // the link whose image is shown large

function columns() {
  const all = links();
  const place = (link) => link.parentElement.offsetTop; // each tile is laid out for itself
  const below = all.findIndex((link) => place(link) > place(all[0]));
  return below < 0 ? all.length : below;
}

function fetchMore() {
  const more = tiles.querySelector(".more");
  if (more) htmx.trigger(more, "intersect");
}

function move(from, steps) {
  const all = links();
  const to = all[Math.max(0, all.indexOf(from) + steps)] ?? all.at(-1);
  if (all.indexOf(to) > all.length - 24) fetchMore();
  to.focus();
  to.scrollIntoView({ block: "nearest" });
  return to;
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

function drawMasks() {
  const shown = document.getElementById("masks").checked;
  for (const image of tiles.querySelectorAll("img[data-plain]")) {
    image.dataset.masked ??= image.getAttribute("src");
    const wanted = shown ? image.dataset.masked : image.dataset.plain;
    if (image.getAttribute("src") !== wanted) image.setAttribute("src", wanted);
  }
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
  else if (links().includes(document.activeElement)) move(document.activeElement, steps);
  else move(links()[0], 0);
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
document.getElementById("masks")?.addEventListener("change", drawMasks);
document.body.addEventListener("htmx:afterSettle", () => tiles && drawMasks());
