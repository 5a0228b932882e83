from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("rounds", "0001_initial")]

    operations = [
        migrations.AddField(
            "stage",
            "worker",
            models.CharField(blank=True, default="", help_text="Address of the process that claimed it last.", max_length=150),
            preserve_default=False,
        ),
    ]
