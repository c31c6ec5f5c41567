-- Several nodes: who is there, and whose what waits is.

CREATE TABLE nodes (
    slot        int2 PRIMARY KEY,
    node        text NOT NULL UNIQUE,
    writer      int8 NOT NULL UNIQUE,
    lease_until timestamptz NOT NULL
) WITH (fillfactor = 20);
COMMENT ON TABLE nodes IS 'The nodes that run. Each second a node sets lease_until forward, by the clock of this database';
COMMENT ON COLUMN nodes.slot IS 'Which part of the STANs and RRNs is the node''s, of 16';
COMMENT ON COLUMN nodes.writer IS 'What is of a writer that is not in this table belongs to nobody, until a node takes it over';
COMMENT ON COLUMN nodes.lease_until IS 'From then on the node acts no more, and any other may take over what is its';

ALTER TABLE writers ADD COLUMN slot int2;
COMMENT ON COLUMN writers.slot IS 'The slot that the node had: the next writer in it goes on after its numbers';

ALTER TABLE advices ADD COLUMN writer int8 NOT NULL DEFAULT 0;
COMMENT ON COLUMN advices.writer IS 'Who sends it, and nobody else';
