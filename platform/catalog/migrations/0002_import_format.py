from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("catalog", "0001_initial")]

    operations = [
        migrations.AddField(
            model_name="import",
            name="format",
            field=models.CharField(
                default="detect", help_text="How the source is read (annotation.formats).", max_length=20
            ),
        ),
    ]
