-- Ledgers that were moved here from elsewhere.

CREATE TABLE imports (
    id          text PRIMARY KEY,
    writer      int8 NOT NULL,
    finished    boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE imports IS 'Imports of whole ledgers. Until one is finished no node starts';
COMMENT ON COLUMN imports.id IS 'The id of the export, 32 hexadecimal digits';
COMMENT ON COLUMN imports.writer IS 'Whose lane 1 counts the batches that are in: an import that was broken off goes on after them';
