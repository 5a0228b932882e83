import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('catalog', '0003_what_masks_show'),
    ]

    operations = [
        migrations.CreateModel(
            name='Landmarks',
            fields=[
                ('image', models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, primary_key=True, related_name='landmarks', serialize=False, to='catalog.image')),
                ('described', models.BinaryField(help_text='Of ml.landmarks: empty where nothing stands out.')),
            ],
            options={
                'verbose_name_plural': 'landmarks',
            },
        ),
        migrations.CreateModel(
            name='SharedSurface',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('found_at', models.DateTimeField(auto_now_add=True)),
                ('one', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='catalog.image')),
                ('other', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='catalog.image')),
            ],
            options={
                'ordering': ('pk',),
            },
        ),
        migrations.AddConstraint(
            model_name='sharedsurface',
            constraint=models.UniqueConstraint(fields=('one', 'other'), name='shared_surface_noted_once'),
        ),
    ]
