SELECT create_hypertable(
    'weather_features', 'timestamp',
    chunk_time_interval => INTERVAL '90 days',
    create_default_indexes => FALSE,
    if_not_exists => TRUE,
    migrate_data => TRUE
);
