//! Length headers over a byte stream: many frames per read, gathered writes.
