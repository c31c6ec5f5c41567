-- Every key begins with the merchant, so that a system that shards by the first column keeps an item on one shard.
-- Table by table with the reasons: docs/postgres-schema.md.

CREATE TABLE merchants (
    merchant    int8 NOT NULL,
    realm       text NOT NULL,
    acceptor    text NOT NULL,
    PRIMARY KEY (merchant, realm, acceptor)
);
COMMENT ON TABLE merchants IS 'The number that every key begins with, and whose it is. Two merchants may share a number.';
COMMENT ON COLUMN merchants.acceptor IS 'DE 42 as sent';

CREATE TABLE transactions (
    merchant    int8 NOT NULL,
    key         uuid NOT NULL,
    version     int4 NOT NULL,
    kind        int2 NOT NULL,
    status      int2 NOT NULL,
    currency    int2 NOT NULL,
    amount      int8 NOT NULL,
    approved    int8,
    settled     int8,
    pending     int8,
    taken       int8,
    partial     int8,
    de7         int8 NOT NULL,
    created     int8 NOT NULL,
    moved       int8 NOT NULL,
    original    uuid,
    terminal    text NOT NULL,
    rrn         text NOT NULL,
    link        text,
    record      bytea NOT NULL,
    PRIMARY KEY (merchant, key),
    CONSTRAINT ceiling CHECK (settled + pending + taken <= approved),
    CONSTRAINT amounts CHECK (settled >= 0 AND pending >= 0 AND taken >= partial AND partial >= 0),
    CONSTRAINT versions CHECK (version > 0)
) WITH (fillfactor = 80);
COMMENT ON TABLE transactions IS 'One row per transaction: originals (kind 0 and 1, with their books), refunds, voids, reversals, tombstones, further names';
COMMENT ON COLUMN transactions.kind IS '0 purchase, 1 preauth, 2 refund, 3 void, 4 refund_void, 5 reversal, 6 tombstone, 7 same_as';
COMMENT ON COLUMN transactions.status IS '0 in_flight, 1 reversed_in_flight, 2 approved, 3 declined, 4 refused, 5 unsent, 6 reversing, 7 reversed, 8 stored';
COMMENT ON COLUMN transactions.amount IS 'DE 4 as asked for, minor units of currency';
COMMENT ON COLUMN transactions.approved IS 'Books, of originals only, minor units; null elsewhere';
COMMENT ON COLUMN transactions.created IS 'Unix milliseconds';
COMMENT ON COLUMN transactions.moved IS 'Last change, unix milliseconds';
COMMENT ON COLUMN transactions.record IS 'The whole record in its stored form; the columns beside it are taken from it';
CREATE INDEX transactions_by_de7 ON transactions (merchant, de7);
CREATE INDEX transactions_by_rrn ON transactions (merchant, rrn) WHERE kind = 0;
CREATE INDEX transactions_by_original ON transactions (merchant, original) WHERE original IS NOT NULL;
CREATE INDEX transactions_by_age ON transactions USING brin (created);

CREATE TABLE open_transactions (
    merchant    int8 NOT NULL,
    key         uuid NOT NULL,
    writer      int8 NOT NULL,
    until       int8,
    PRIMARY KEY (merchant, key)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
COMMENT ON TABLE open_transactions IS 'Transactions that something is still to happen to, and whose they are';
COMMENT ON COLUMN open_transactions.until IS 'Taken back without an approval, which may still come until then; unix milliseconds';

CREATE TABLE advices (
    merchant    int8 NOT NULL,
    key         uuid NOT NULL,
    ordinal     int2 NOT NULL,
    version     int4 NOT NULL,
    kind        int2 NOT NULL,
    state       int2 NOT NULL,
    link        text NOT NULL,
    ordered_by  uuid NOT NULL,
    stan        int4 NOT NULL,
    de7         int8 NOT NULL,
    attempts    int4 NOT NULL,
    created     int8 NOT NULL,
    moved       int8 NOT NULL,
    record      bytea NOT NULL,
    PRIMARY KEY (merchant, key, ordinal)
) WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
COMMENT ON TABLE advices IS 'Advices that wait for an issuer, and dead letters. What is done is gone; events has it';
COMMENT ON COLUMN advices.kind IS '0 reversal, 1 partial_reversal, 2 refund';
COMMENT ON COLUMN advices.state IS '0 waiting, 1 sent, 3 dead';

CREATE TABLE events (
    merchant    int8 NOT NULL,
    at          int8 NOT NULL,
    writer      int8 NOT NULL,
    number      int8 NOT NULL,
    cause       int2 NOT NULL,
    key         uuid,
    event       bytea NOT NULL,
    PRIMARY KEY (merchant, at, writer, number)
) PARTITION BY RANGE (at);
COMMENT ON TABLE events IS 'What happened, append-only, one partition per UTC day. (writer, number) names an event';
COMMENT ON COLUMN events.merchant IS '-1: of no merchant (a number given to a sign-on or echo)';
COMMENT ON COLUMN events.at IS 'Unix milliseconds';
COMMENT ON COLUMN events.key IS 'The first transaction that it is about';
COMMENT ON COLUMN events.event IS 'The event in its stored form';

CREATE TABLE writers (
    writer      int8 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    node        text NOT NULL,
    opened      timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE writers IS 'Every start of a node';

CREATE TABLE lanes (
    writer      int8 NOT NULL,
    lane        int2 NOT NULL,
    epoch       int4 NOT NULL DEFAULT 0,
    batch       int8 NOT NULL DEFAULT 0,
    at          int8 NOT NULL DEFAULT 0,
    PRIMARY KEY (writer, lane)
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
COMMENT ON TABLE lanes IS 'The last batch of each connection of a writer. A batch is committed if and only if its number stands here or was passed';
COMMENT ON COLUMN lanes.epoch IS 'Whoever raises it shuts out what an earlier connection still has on its way';

CREATE TABLE link_numbers (
    writer      int8 NOT NULL,
    lane        int2 NOT NULL,
    link        text NOT NULL,
    number      int8 NOT NULL,
    stan        int4 NOT NULL,
    de7         int8 NOT NULL,
    PRIMARY KEY (writer, lane, link)
) WITH (fillfactor = 20, autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000);
COMMENT ON TABLE link_numbers IS 'STAN and DE 7 given out last toward each link; of the rows of a node that with the highest (writer, number) is the last';

CREATE TABLE card_keys (
    id          int8 PRIMARY KEY,
    place       int4 GENERATED ALWAYS AS IDENTITY
);
COMMENT ON TABLE card_keys IS 'Ids of the keys that card digests and sealed boxes were made with; never a key';
