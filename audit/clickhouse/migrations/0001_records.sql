-- One row a record, every field of it but the nonce, so that all of it can be
-- compared with the journal. docs/clickhouse.md gives the reason of each choice
-- and what it costs.
--
-- Plain MergeTree on purpose: a row that comes twice stays visible and is
-- reported, where a ReplacingMergeTree would let whoever may insert overwrite
-- a record. auth_time is in microseconds since 1970 because "not known" and
-- "1970" are two things. Three fields are stored in another form and are there
-- under their own names as aliases: a request id that is a UUID as its last ten
-- bytes and how long the time at its beginning lies before the record's, any
-- other text as it is; the decision as the distance to it; upstream as what
-- duration has above it. Each form has one value for each value of the field.
--
-- A list reads a row here and a row there: its columns have small blocks. The
-- bulky ones that only whole records need have large blocks, which pays for it.
CREATE TABLE IF NOT EXISTS {{database}}.{{local}} {{on_cluster}}
(
    site             LowCardinality(String)        CODEC(ZSTD(1)),
    source           LowCardinality(String)        CODEC(ZSTD(1)),
    seq              UInt64                        CODEC(Delta, ZSTD(1)),
    time             DateTime64(6, 'UTC')          CODEC(Delta, ZSTD(1)),
    kind             LowCardinality(String)        CODEC(ZSTD(1)),
    request_id       FixedString(10)               CODEC(ZSTD(1)),
    request_lag      Int64                         CODEC(ZSTD(1)),
    request_text     String                        CODEC(ZSTD(1)),
    request          String ALIAS if(request_id = toFixedString('', 10), request_text, lower(concat(
        substring(leftPad(hex(bitAnd(intDiv(toUnixTimestamp64Micro(time), 1000) - request_lag, 281474976710655)), 16, '0'), 5, 8), '-',
        substring(leftPad(hex(bitAnd(intDiv(toUnixTimestamp64Micro(time), 1000) - request_lag, 281474976710655)), 16, '0'), 13, 4), '-',
        substring(hex(request_id), 1, 4), '-', substring(hex(request_id), 5, 4), '-', substring(hex(request_id), 9, 12)))),
    gap              UInt64                        CODEC(T64, ZSTD(1)),
    decision         UInt64 ALIAS multiIf(gap = 0, 0, gap = seq, seq, seq - gap),
    app              LowCardinality(String)        CODEC(ZSTD(1)),
    method           LowCardinality(String)        CODEC(ZSTD(1)) SETTINGS (min_compress_block_size = 65536),
    target           String                        CODEC(ZSTD(1)) SETTINGS (min_compress_block_size = 65536),
    query            String                        CODEC(ZSTD(1)) SETTINGS (min_compress_block_size = 65536),
    route            LowCardinality(String)        CODEC(ZSTD(1)) SETTINGS (min_compress_block_size = 65536),
    action           LowCardinality(String)        CODEC(ZSTD(1)),
    area             LowCardinality(String)        CODEC(ZSTD(1)),
    screen           LowCardinality(String)        CODEC(ZSTD(1)),
    resource         LowCardinality(String)        CODEC(ZSTD(1)),
    resource_id      String                        CODEC(ZSTD(1)) SETTINGS (min_compress_block_size = 65536),
    resource_version String                        CODEC(ZSTD(1)),
    deliberate       LowCardinality(String)        CODEC(ZSTD(1)),
    patient          String                        CODEC(ZSTD(1)),
    nhs_number       String                        CODEC(ZSTD(1)),
    patient_source   LowCardinality(String)        CODEC(ZSTD(1)),
    certainty        LowCardinality(String)        CODEC(ZSTD(1)),
    user_issuer      LowCardinality(String)        CODEC(ZSTD(1)),
    user_sub         LowCardinality(String)        CODEC(ZSTD(1)) SETTINGS (min_compress_block_size = 65536),
    person           LowCardinality(String)        CODEC(ZSTD(1)),
    user_name        LowCardinality(String)        CODEC(ZSTD(1)),
    roles            Array(LowCardinality(String)) CODEC(ZSTD(1)),
    activities       Array(LowCardinality(String)) CODEC(ZSTD(1)) SETTINGS (min_compress_block_size = 65536),
    org              LowCardinality(String)        CODEC(ZSTD(1)),
    role_id          LowCardinality(String)        CODEC(ZSTD(1)) SETTINGS (min_compress_block_size = 65536),
    acr              LowCardinality(String)        CODEC(ZSTD(1)),
    amr              Array(LowCardinality(String)) CODEC(ZSTD(1)) SETTINGS (min_compress_block_size = 65536),
    assurance        UInt64                        CODEC(T64, ZSTD(1)),
    auth_time        Int64                         CODEC(ZSTD(1)) SETTINGS (min_compress_block_size = 65536),
    session          String                        CODEC(ZSTD(1)) SETTINGS (min_compress_block_size = 65536),
    token            String                        CODEC(ZSTD(1)),
    purpose          LowCardinality(String)        CODEC(ZSTD(1)),
    basis            LowCardinality(String)        CODEC(ZSTD(1)),
    client_ip        LowCardinality(String)        CODEC(ZSTD(1)),
    device           LowCardinality(String)        CODEC(ZSTD(1)),
    user_agent       LowCardinality(String)        CODEC(ZSTD(1)) SETTINGS (min_compress_block_size = 65536),
    client_cn        LowCardinality(String)        CODEC(ZSTD(1)),
    effect           LowCardinality(String)        CODEC(ZSTD(1)),
    reasons          Array(LowCardinality(String)) CODEC(ZSTD(1)),
    rules            Array(LowCardinality(String)) CODEC(ZSTD(1)) SETTINGS (min_compress_block_size = 65536),
    policy_rev       LowCardinality(String)        CODEC(ZSTD(1)),
    mode             LowCardinality(String)        CODEC(ZSTD(1)),
    would_deny       Bool                          CODEC(ZSTD(1)),
    outcome          LowCardinality(String)        CODEC(ZSTD(1)),
    status           UInt64                        CODEC(T64, ZSTD(1)),
    bytes_in         UInt64                        CODEC(ZSTD(1)),
    bytes_out        UInt64                        CODEC(ZSTD(1)) SETTINGS (min_compress_block_size = 65536),
    duration         UInt64                        CODEC(ZSTD(1)) SETTINGS (min_compress_block_size = 65536),
    overhead         UInt64                        CODEC(ZSTD(1)) SETTINGS (min_compress_block_size = 65536),
    upstream         UInt64 ALIAS duration - overhead,
    results          UInt64                        CODEC(ZSTD(1)) SETTINGS (min_compress_block_size = 65536),
    error            LowCardinality(String)        CODEC(ZSTD(1)),
    upstream_to      LowCardinality(String)        CODEC(ZSTD(1)) SETTINGS (min_compress_block_size = 65536),
    detail           Array(String)                 CODEC(ZSTD(1)),

    INDEX by_nhs_number nhs_number TYPE bloom_filter GRANULARITY 1,
    INDEX by_person person TYPE text(tokenizer = 'array'),
    INDEX by_seq seq TYPE minmax GRANULARITY 1000000
)
ENGINE = {{engine}}
PARTITION BY toYYYYMM(time)
ORDER BY (patient, time, source, seq)
SETTINGS
    index_granularity = 1024, min_compress_block_size = 4096, max_compress_block_size = 65536,
    {{deduplication}},
    fsync_after_insert = 1,
    fsync_part_directory = 1,
    min_rows_to_fsync_after_merge = 1;

{{distributed}};
