//! Byte strings in pages, each page for strings of one size in steps of eight bytes; what is large has a page of its own.
//!
//! The first byte of a string is never [`FREE`]: that marks a place that is free again, and two bytes behind it name the next
//! free place of the page.
#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "an id is given out by `insert` alone and names a place within its page; sizes are far below the range of `usize`"
)]

/// Sizes are multiples of it.
const STEP: usize = 8;

/// The least size: so many fit a page at most that a place's number has [`PLACE_BITS`].
const SIZE_MIN: usize = 32;

const PLACE_BITS: u32 = 9;

/// The largest page.
pub(super) const PAGE_BYTES_MAX: usize = SIZE_MIN << PLACE_BITS;

/// The smallest page.
pub(super) const PAGE_BYTES_MIN: usize = 1024;

/// First byte of a free place.
pub(super) const FREE: u8 = 0xFF;

/// Names a string: its page and the place there.
#[derive(Copy, Clone, PartialEq, Eq, Debug)]
pub(super) struct Id(pub(super) u64);

impl Id {
    fn page(self) -> usize {
        (self.0 >> PLACE_BITS) as usize
    }

    fn place(self) -> usize {
        (self.0 & ((1 << PLACE_BITS) - 1)) as usize
    }
}

const NONE: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct Page {
    bytes: Box<[u8]>,
    /// Size of its places in steps; 0: one large string.
    size: u16,
    used: u16,
    /// Places that were in use at some time.
    begun: u16,
    /// The first of the places that are free again.
    free: u16,
    /// Neighbours among the pages of this size that have room.
    next: u32,
    before: u32,
    /// Whether it is among them.
    linked: bool,
}

#[derive(Debug)]
pub(super) struct Slab {
    pages: Vec<Page>,
    /// Numbers of pages that are not there.
    vacant: Vec<u32>,
    /// The first page with room, by size in steps.
    room: Vec<u32>,
    /// Places without a string, by size in steps.
    empty: Vec<u32>,
    page_bytes: usize,
    /// In pages.
    bytes: usize,
}

impl Slab {
    /// `page_bytes` is a power of two from [`PAGE_BYTES_MIN`] to [`PAGE_BYTES_MAX`].
    pub(super) fn new(page_bytes: usize) -> Slab {
        let sizes = page_bytes / 4 / STEP + 1;
        Slab {
            pages: Vec::new(),
            vacant: Vec::new(),
            room: vec![NONE; sizes],
            empty: vec![0; sizes],
            page_bytes,
            bytes: 0,
        }
    }

    /// What is known of the page of a string.
    pub(super) fn page(&self, id: Id) -> &Page {
        &self.pages[id.page()]
    }

    /// The string and, after it, whatever its place is longer.
    pub(super) fn get(&self, id: Id) -> &[u8] {
        let page = &self.pages[id.page()];
        match page.size {
            0 => &page.bytes,
            size => {
                let size = usize::from(size) * STEP;
                let begin = id.place() * size;
                &page.bytes[begin..begin + size]
            }
        }
    }

    /// Its first byte.
    pub(super) fn first(&mut self, id: Id) -> &mut u8 {
        let page = &mut self.pages[id.page()];
        let begin = id.place() * usize::from(page.size) * STEP;
        &mut page.bytes[begin]
    }

    /// As [`first`](Slab::first), of an id whose string may be gone.
    pub(super) fn first_of(&self, id: Id) -> Option<u8> {
        let page = self.pages.get(id.page())?;
        let begun = match page.size {
            0 => page.used,
            _ => page.begun,
        };
        if id.place() >= usize::from(begun) {
            return None;
        }
        let begin = id.place() * usize::from(page.size) * STEP;
        let first = page.bytes.get(begin).copied();
        first.filter(|first| *first != FREE)
    }

    pub(super) fn insert(&mut self, string: &[u8]) -> Id {
        let size = string.len().max(SIZE_MIN).div_ceil(STEP);
        if size >= self.room.len() {
            let page = self.add_page(string.into(), 0);
            self.pages[page].used = 1;
            return Id((page as u64) << PLACE_BITS);
        }
        let number = match self.room[size] {
            NONE => {
                let places = self.page_bytes / (size * STEP);
                let bytes = vec![0; places * size * STEP].into_boxed_slice();
                let number = self.add_page(bytes, size as u16);
                self.empty[size] += places as u32;
                self.link(number);
                number
            }
            number => number as usize,
        };
        self.empty[size] -= 1;
        let page = &mut self.pages[number];
        let place = match page.free {
            u16::MAX => {
                page.begun += 1;
                usize::from(page.begun) - 1
            }
            place => {
                let begin = usize::from(place) * size * STEP;
                page.free = u16::from_le_bytes([page.bytes[begin + 1], page.bytes[begin + 2]]);
                usize::from(place)
            }
        };
        page.used += 1;
        let begin = place * size * STEP;
        page.bytes[begin..begin + string.len()].copy_from_slice(string);
        if page.is_full() {
            self.unlink(number);
        }
        Id((number as u64) << PLACE_BITS | place as u64)
    }

    pub(super) fn remove(&mut self, id: Id) {
        let number = id.page();
        let page = &mut self.pages[number];
        let size = usize::from(page.size);
        let was_full = page.is_full();
        page.used -= 1;
        if size == 0 {
            self.drop_page(number);
            return;
        }
        self.empty[size] += 1;
        if page.used == 0 {
            self.empty[size] -= page.places() as u32;
            self.unlink(number);
            self.drop_page(number);
            return;
        }
        let begin = id.place() * size * STEP;
        page.bytes[begin] = FREE;
        page.bytes[begin + 1..begin + 3].copy_from_slice(&page.free.to_le_bytes());
        page.free = id.place() as u16;
        if was_full {
            self.link(number);
        }
    }

    /// What the pages take, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Numbers of pages are below.
    pub(super) fn pages(&self) -> usize {
        self.pages.len()
    }

    /// What a string of the page takes.
    pub(super) fn size(&self, page: usize) -> usize {
        match self.pages[page].size {
            0 => self.pages[page].bytes.len(),
            size => usize::from(size) * STEP,
        }
    }

    /// The strings of a page, from a place on.
    pub(super) fn ids(&self, page: usize, from: u16) -> impl Iterator<Item = Id> + use<'_> {
        let number = page as u64;
        let page = &self.pages[page];
        let places = if page.size == 0 {
            page.used
        } else {
            page.begun
        };
        let ids =
            (u64::from(from)..u64::from(places)).map(move |place| Id(number << PLACE_BITS | place));
        ids.filter(move |id| {
            let begin = id.place() * usize::from(page.size) * STEP;
            page.bytes[begin] != FREE
        })
    }

    /// A page whose strings have room in others of its size: the emptiest.
    pub(super) fn spare_page(&self) -> Option<usize> {
        let has_spare =
            |size: &usize| self.empty[*size] as usize >= self.page_bytes / (*size * STEP);
        let size = (1..self.empty.len()).find(has_spare)?;
        let mut emptiest = None;
        let mut at = self.room[size];
        while at != NONE {
            let page = &self.pages[at as usize];
            if emptiest.is_none_or(|(used, _)| page.used < used) {
                emptiest = Some((page.used, at as usize));
            }
            at = page.next;
        }
        emptiest.map(|(_, number)| number)
    }

    /// Takes no more strings into a page. For one whose strings go elsewhere.
    pub(super) fn close_page(&mut self, number: usize) {
        self.unlink(number);
    }

    fn add_page(&mut self, bytes: Box<[u8]>, size: u16) -> usize {
        self.bytes += bytes.len() + size_of::<Page>();
        let page = Page {
            bytes,
            size,
            used: 0,
            begun: 0,
            free: u16::MAX,
            next: NONE,
            before: NONE,
            linked: false,
        };
        match self.vacant.pop() {
            Some(number) => {
                self.pages[number as usize] = page;
                number as usize
            }
            None => {
                self.pages.push(page);
                self.pages.len() - 1
            }
        }
    }

    fn drop_page(&mut self, number: usize) {
        let page = &mut self.pages[number];
        self.bytes -= page.bytes.len() + size_of::<Page>();
        page.bytes = Box::default();
        page.begun = 0;
        self.vacant.push(number as u32);
    }

    /// Puts a page first among those with room.
    fn link(&mut self, number: usize) {
        let size = usize::from(self.pages[number].size);
        let next = std::mem::replace(&mut self.room[size], number as u32);
        let page = &mut self.pages[number];
        (page.next, page.before, page.linked) = (next, NONE, true);
        if let Some(next) = self.pages.get_mut(next as usize) {
            next.before = number as u32;
        }
    }

    fn unlink(&mut self, number: usize) {
        let page = &mut self.pages[number];
        if !std::mem::take(&mut page.linked) {
            return;
        }
        let (size, next, before) = (page.size, page.next, page.before);
        match self.pages.get_mut(before as usize) {
            Some(before) => before.next = next,
            None => self.room[usize::from(size)] = next,
        }
        if let Some(next) = self.pages.get_mut(next as usize) {
            next.before = before;
        }
    }
}

impl Page {
    fn places(&self) -> usize {
        match self.size {
            0 => 1,
            size => self.bytes.len() / (usize::from(size) * STEP),
        }
    }

    fn is_full(&self) -> bool {
        usize::from(self.used) == self.places()
    }
}
