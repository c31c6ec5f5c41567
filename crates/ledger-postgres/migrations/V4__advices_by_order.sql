-- Whose turn it is, is asked before every first attempt.

CREATE INDEX advices_by_order ON advices (merchant, ordered_by);
