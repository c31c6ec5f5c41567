-- Two keys of one id are told apart.

ALTER TABLE card_keys ADD COLUMN check_value bytea;
COMMENT ON COLUMN card_keys.check_value IS 'the first 8 bytes of an HMAC-SHA-256 of a fixed text, made with the key';
