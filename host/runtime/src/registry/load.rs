//! Which of several equal candidates gets a call: of two random ones the one with less to do ("the power of two choices", Mitzenmacher 2001).
//! So a busy one is spared without a look at all of them, and callers that choose at the same time do not all choose the same one.

/// Of two of these, drawn by `random`, the one with the lower `load`; the one that was drawn first if both have as much. `None` of none.
pub(super) fn lighter_of_two<T>(among: &[T], random: u64, load: impl Fn(&T) -> u64) -> Option<&T> {
    let count = among.len() as u64;
    if count < 2 {
        return among.first();
    }
    // Each half of the number draws one: the upper bits of a product are as random as the factor's.
    let below = |bits: u64, count: u64| ((bits & u64::from(u32::MAX)) * count) >> 32;
    let first = below(random >> 32, count);
    let other = (first + 1 + below(random, count - 1)) % count;
    let (first, other) = (among.get(first as usize)?, among.get(other as usize)?);
    Some(if load(other) < load(first) { other } else { first })
}

#[cfg(test)]
mod tests {
    use super::super::random::random;
    use super::*;
    use proptest::prelude::*;

    /// How often each of these is chosen, by its load.
    fn chosen(loads: &[u64], calls: usize) -> Vec<usize> {
        let mut counts = vec![0; loads.len()];
        let numbered: Vec<(usize, u64)> = loads.iter().copied().enumerate().collect();
        for _ in 0..calls {
            let (at, _) = lighter_of_two(&numbered, random(), |(_, load)| *load).unwrap();
            counts[*at] += 1;
        }
        counts
    }

    proptest! {
        #[test]
        fn the_busiest_is_never_chosen_and_of_the_others_each_is(loads in prop::collection::vec(0_u64..1000, 2..9)) {
            let busiest = loads.iter().max().copied().unwrap() + 1;
            let all: Vec<u64> = loads.into_iter().chain([busiest]).collect();
            let counts = chosen(&all, 10_000);
            prop_assert_eq!(counts.last(), Some(&0));
            // One has less to do than some other one, so that it is chosen as soon as it is drawn with the busiest.
            prop_assert!(counts[..all.len() - 1].iter().all(|count| *count > 0), "{:?}: {:?}", all, counts);
        }

        #[test]
        fn equal_loads_are_chosen_equally_often(count in 2_usize..20, load in 0_u64..3) {
            let calls = 2_000 * count;
            let counts = chosen(&vec![load; count], calls);
            // Twelve standard deviations of about 45.
            prop_assert!(counts.iter().all(|count| count.abs_diff(2_000) < 540), "{:?}", counts);
        }

        #[test]
        fn what_is_chosen_is_one_of_them_whatever_was_drawn(loads in prop::collection::vec(0_u64..5, 1..20), random: u64) {
            let least = lighter_of_two(&loads, random, |load| *load);
            prop_assert!(least.is_some_and(|least| loads.contains(least)));
        }
    }

    #[test]
    fn one_alone_is_chosen_without_a_look_at_its_load() {
        assert_eq!(lighter_of_two(&[7], 1, |_| unreachable!()), Some(&7));
        assert_eq!(lighter_of_two(&[(); 0], 1, |()| unreachable!()), None);
    }

    /// Calls that never end: each goes where fewer are, so that none has much more than the others.
    #[test]
    fn load_that_stays_is_spread_evenly() {
        let mut loads = vec![0_u64; 16];
        for _ in 0..16_000 {
            let numbers: Vec<usize> = (0..loads.len()).collect();
            let at = *lighter_of_two(&numbers, random(), |at| loads[*at]).unwrap();
            loads[at] += 1;
        }
        let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
        assert!(most - least < 16, "{loads:?}");
    }
}
