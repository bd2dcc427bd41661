//! Numbers of places that are given, given back and given again: slots of calls, rows of the crash journal.

/// Numbers from 0 on that nobody has. Those that were never given come last.
pub(crate) struct FreeNumbers {
    returned: Vec<u32>,
    made: u32,
}

impl FreeNumbers {
    pub(crate) const fn new() -> Self {
        FreeNumbers {
            returned: Vec::new(),
            made: 0,
        }
    }

    /// One of so many; `None` if all are taken.
    pub(crate) fn take(&mut self, max: usize) -> Option<u32> {
        self.returned.pop().or_else(|| {
            let is_room = (self.made as usize) < max;
            self.made += u32::from(is_room);
            is_room.then(|| self.made - 1)
        })
    }

    /// Nobody has it any more.
    pub(crate) fn give_back(&mut self, number: u32) {
        self.returned.push(number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_that_was_given_back_is_given_before_a_new_one() {
        let mut free = FreeNumbers::new();
        assert_eq!(
            [free.take(2), free.take(2), free.take(2)],
            [Some(0), Some(1), None]
        );
        free.give_back(0);
        assert_eq!([free.take(3), free.take(3)], [Some(0), Some(2)]);
    }
}
