-- Accesses that other systems wrote down and somebody brought in. They have a
-- table of their own, so that no question about what the gateway has witnessed
-- can ever be answered with one of them.
--
-- row_key is a number made of site, source, id and patient: looking up whether
-- a row is there reads eight bytes of it, not the id. by_id keeps neighbouring
-- ids together, so that a look-up for ids that count up reads next to nothing.
CREATE TABLE IF NOT EXISTS {{database}}.imported {{on_cluster}}
(
    site        LowCardinality(String) CODEC(ZSTD(1)),
    source      LowCardinality(String) CODEC(ZSTD(1)),
    id          String                 CODEC(ZSTD(1)),
    row_key     UInt64                 CODEC(NONE),
    content     FixedString(16)        CODEC(NONE),
    line        UInt64                 CODEC(Delta, ZSTD(1)),
    time        DateTime64(6, 'UTC')   CODEC(Delta, ZSTD(1)),
    person      LowCardinality(String) CODEC(ZSTD(1)),
    action      LowCardinality(String) CODEC(ZSTD(1)),
    app         LowCardinality(String) CODEC(ZSTD(1)),
    role        LowCardinality(String) CODEC(ZSTD(1)),
    session     String                 CODEC(ZSTD(1)),
    device      LowCardinality(String) CODEC(ZSTD(1)),
    ip          LowCardinality(String) CODEC(ZSTD(1)),
    area        LowCardinality(String) CODEC(ZSTD(1)),
    screen      LowCardinality(String) CODEC(ZSTD(1)),
    resource    LowCardinality(String) CODEC(ZSTD(1)),
    patient     String                 CODEC(ZSTD(1)),
    nhs_hash    String                 CODEC(ZSTD(1)),
    deliberate  LowCardinality(String) CODEC(ZSTD(1)),
    purpose     LowCardinality(String) CODEC(ZSTD(1)),
    break_glass Bool                   CODEC(ZSTD(1)),
    reason      String                 CODEC(ZSTD(1)),
    outcome     LowCardinality(String) CODEC(ZSTD(1)),
    bytes       UInt64                 CODEC(T64, ZSTD(1)),
    results     UInt64                 CODEC(T64, ZSTD(1)),
    extra       String                 CODEC(ZSTD(1)),
    batch       LowCardinality(String) CODEC(ZSTD(1)),
    origin      LowCardinality(String) CODEC(ZSTD(1)),
    file        LowCardinality(String) CODEC(ZSTD(1)),
    imported_at DateTime64(6, 'UTC')   CODEC(Delta, ZSTD(1)),
    imported_by LowCardinality(String) CODEC(ZSTD(1)),

    INDEX by_nhs_hash nhs_hash TYPE bloom_filter GRANULARITY 1,
    PROJECTION by_person (SELECT _part_offset ORDER BY person, time),
    PROJECTION by_id (SELECT site, source, id, patient, row_key, content ORDER BY site, source, id)
)
ENGINE = {{engine}}
PARTITION BY toYYYYMM(time)
ORDER BY (patient, time, source, id)
SETTINGS
    {{deduplication}},
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1;
