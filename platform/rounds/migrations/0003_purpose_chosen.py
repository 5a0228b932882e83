"""A purpose that is true of every strategy that asks the model: not all of them ask for what it is unsure of."""

from django.db import migrations, models


def renamed(old, new):
    def rename(apps, _):
        apps.get_model("rounds", "Acquisition").objects.filter(purpose=old).update(purpose=new)

    return rename


class Migration(migrations.Migration):
    dependencies = [("rounds", "0002_stage_worker")]
    operations = [
        migrations.AlterField(
            model_name="acquisition",
            name="purpose",
            field=models.CharField(
                choices=[("random", "random sample"), ("chosen", "chosen by what the model says")], max_length=20
            ),
        ),
        migrations.RunPython(renamed("uncertain", "chosen"), renamed("chosen", "uncertain")),
    ]
