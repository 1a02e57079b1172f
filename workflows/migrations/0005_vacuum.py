from django.db import migrations

# PostgreSQL looks at a table again when a fifth of it has changed: at ten million rows that is far too late for those
# that are changed at every step. These are looked at after a thousand changes, or one in a hundred, and are cleaned
# without the pauses that are meant for tables that nobody waits for. Lists of what is new are analysed as soon.
CHANGED = {
    'autovacuum_vacuum_scale_factor': '0.01',
    'autovacuum_vacuum_threshold': '1000',
    'autovacuum_vacuum_cost_delay': '0',
    'autovacuum_analyze_scale_factor': '0.02',
    'autovacuum_analyze_threshold': '1000',
}
# Rows that come and go: the table is as good as empty, and must stay small whatever went through it.
PASSING = {
    'autovacuum_vacuum_scale_factor': '0',
    'autovacuum_vacuum_threshold': '500',
    'autovacuum_vacuum_cost_delay': '0',
    'autovacuum_analyze_scale_factor': '0',
    'autovacuum_analyze_threshold': '500',
}
# Rows that are added and, one day, archived. Freezing them in small portions is cheaper than all at once.
ADDED = {
    'autovacuum_vacuum_scale_factor': '0.05',
    'autovacuum_vacuum_insert_scale_factor': '0.05',
    'autovacuum_analyze_scale_factor': '0.05',
}
TABLES = {
    'workflows_job': CHANGED,
    'workflows_jobdata': CHANGED,
    'workflows_taskrun': CHANGED,
    'workflows_message': CHANGED,
    'workflows_childgroup': CHANGED,
    'workflows_eventwaiter': CHANGED,
    'workflows_signal': PASSING,
    'workflows_slot': PASSING,
    'workflows_limit': PASSING,
    'workflows_servicerun': PASSING,
    'workflows_worker': PASSING,
    'workflows_history': ADDED,
    'workflows_event': ADDED,
}


def set_storage(apps, schema_editor):
    if schema_editor.connection.vendor == 'postgresql':
        for table, settings in TABLES.items():
            pairs = ', '.join(f'{name} = {value}' for name, value in settings.items())
            schema_editor.execute(f'ALTER TABLE {table} SET ({pairs})')


def reset_storage(apps, schema_editor):
    if schema_editor.connection.vendor == 'postgresql':
        for table, settings in TABLES.items():
            schema_editor.execute(f"ALTER TABLE {table} RESET ({', '.join(settings)})")


class Migration(migrations.Migration):

    dependencies = [
        ('workflows', '0004_the_archive'),
    ]

    operations = [migrations.RunPython(set_storage, reset_storage)]
