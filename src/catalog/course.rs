//! When a catalog is told what of one service, and what is said of that. Pure: time is a value on the loop's monotonic
//! clock, in milliseconds. It knows neither the protocol nor the servers.

use super::Word;
use crate::plan::Millis;

/// One call that says a service is well takes at least this long before it is given up, and at most ...
const SHORTEST: Millis = 1_000;
/// ... this long.
const LONGEST: Millis = 10_000;
/// The pause before what failed once is tried once more.
pub const AGAIN: Millis = 100;
/// All that is done to leave: a Consul without a quorum answers after 7 s.
pub const LEAVE: Millis = 8_000;
/// How long a leave that failed is begun again: an agent may just be restarting.
pub const BRIDGE: Millis = 2_000;
/// A registration may take this long, whatever the TTL: a leave waits for it.
pub const REGISTER: Millis = 7_500;

/// What is wished, and when that was.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// It is well.
    Pass(Millis),
    /// It is to be told of no longer.
    Leave(Millis),
}

/// What to do now.
#[derive(PartialEq, Eq)]
pub enum Next {
    /// Nothing, for so many milliseconds or until there is another wish.
    Wait(Option<Millis>),
    /// Say that it is well.
    Pass,
    /// Leave; that was wished then.
    Leave(Millis),
}

/// One service's course.
pub struct Course {
    ttl: Millis,
    wish: Option<Wish>,
    /// No try before this.
    rest: Millis,
    /// The catalog has it, as far as we know.
    pub is_told: bool,
    /// `Failed` was said, and not its end.
    pub is_down: bool,
}

impl Course {
    /// Nothing is wished, nothing told.
    pub fn new(ttl: Millis) -> Course {
        Course { ttl, wish: None, rest: 0, is_told: false, is_down: false }
    }

    /// When a call that says it is well and begins now is given up: so early that another one fits in the TTL.
    pub fn until(&self, now: Millis) -> Millis {
        now.saturating_add((self.ttl / 3).clamp(SHORTEST, LONGEST))
    }

    /// There is a newer wish. It is tried again soon, but not before the pause of a failure is over.
    pub fn wish(&mut self, wish: Wish) {
        if let Wish::Leave(_) = wish {
            self.rest = 0;
        }
        self.wish = Some(wish);
    }

    /// What to do now.
    pub fn next(&mut self, now: Millis) -> Next {
        match self.wish {
            None => Next::Wait(None),
            Some(Wish::Leave(asked)) => Next::Leave(asked),
            Some(Wish::Pass(asked)) => {
                let until = asked.saturating_add(self.ttl);
                if now >= until {
                    // Whether it is well still, nobody knows.
                    self.wish = None;
                    Next::Wait(None)
                } else if now < self.rest {
                    Next::Wait(Some(self.rest.min(until) - now))
                } else {
                    Next::Pass
                }
            }
        }
    }

    /// The catalog knows that it is well; `is_new`: it did not have it, or no longer.
    pub fn passed(&mut self, is_new: bool, words: &mut Vec<Word>) {
        (self.wish, self.rest) = (None, 0);
        self.recovered(words);
        if is_new || !self.is_told {
            self.is_told = true;
            words.push(Word::Registered);
        }
    }

    /// That failed. The next try comes after `pause`, or soon enough that several of them fit in the TTL.
    pub fn failed(&mut self, now: Millis, pause: Millis) {
        self.rest = now.saturating_add(pause.min(self.ttl / 4));
    }

    /// The catalog cannot be told: said once.
    pub fn outage(&mut self, why: String, words: &mut Vec<Word>) {
        if !self.is_down {
            self.is_down = true;
            words.push(Word::Failed(why));
        }
    }

    /// It has left; `why`: or was given up.
    pub fn left(&mut self, is_asked: bool, why: Option<String>, words: &mut Vec<Word>) {
        (self.wish, self.is_told) = (None, false);
        let is_sure = why.is_none();
        match why {
            Some(why) => self.outage(why, words),
            None if is_asked => self.recovered(words),
            None => {}
        }
        words.push(Word::Left(is_sure));
    }

    fn recovered(&mut self, words: &mut Vec<Word>) {
        if std::mem::take(&mut self.is_down) {
            words.push(Word::Recovered);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::indexing_slicing)]
    use super::*;

    fn line(words: &[Word]) -> String {
        let one = |w: &Word| match w {
            Word::Registered => "registered".to_string(),
            Word::Left(is_sure) => if *is_sure { "left" } else { "not left" }.to_string(),
            Word::Failed(why) => format!("failed({why})"),
            Word::Recovered => "recovered".to_string(),
        };
        words.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_pass_is_worth_trying_until_its_ttl_is_over() {
        let mut c = Course::new(4_000);
        assert!(c.next(0) == Next::Wait(None), "nothing is wished");
        c.wish(Wish::Pass(1_000));
        assert!(c.next(1_000) == Next::Pass);
        assert_eq!(c.until(1_000), 2_333, "two more fit in the TTL");
        c.failed(2_333, 100);
        assert!(c.next(2_333) == Next::Wait(Some(100)));
        assert!(c.next(2_433) == Next::Pass);
        c.failed(3_766, 30_000);
        assert!(c.next(3_766) == Next::Wait(Some(1_000)), "a quarter of the TTL");
        c.failed(4_766, 1_000);
        assert!(c.next(4_766) == Next::Wait(Some(234)), "until it is stale");
        assert!(c.next(5_000) == Next::Wait(None), "it is");
        assert!(c.next(5_000) == Next::Wait(None));
        // A newer wish keeps the pause, a leave does not wait for it.
        c.wish(Wish::Pass(5_100));
        assert!(c.next(5_100) == Next::Wait(Some(666)));
        c.wish(Wish::Leave(5_200));
        assert!(c.next(5_200) == Next::Leave(5_200));
    }

    #[test]
    fn limits_of_a_call() {
        for (ttl, limit) in [(0, 1_000), (1_000, 1_000), (4_000, 1_333), (30_000, 10_000), (Millis::MAX, 10_000)] {
            assert_eq!(Course::new(ttl).until(7), 7 + limit, "{ttl}");
        }
    }

    /// Each sequence of six of what may happen: what is said makes sense.
    #[test]
    fn an_outage_is_told_once_and_so_is_its_end() {
        for mut n in 0..6u32.pow(6) {
            let (mut c, mut words, mut seen) = (Course::new(4_000), Vec::new(), String::new());
            for _ in 0..6 {
                let (is_told, before) = (c.is_told, words.len());
                let step = n % 6;
                n /= 6;
                match step {
                    0 => c.passed(false, &mut words),
                    1 => c.passed(true, &mut words),
                    2 => c.outage("why".to_string(), &mut words),
                    3 => c.left(true, None, &mut words),
                    4 => c.left(true, Some("late".to_string()), &mut words),
                    _ => c.left(false, None, &mut words),
                }
                seen.push_str(["p", "P", "f", "l", "L", "n"][step as usize]);
                let said = line(words.get(before..).unwrap_or(&[]));
                assert_eq!(said.contains("registered"), step == 1 || step == 0 && !is_told, "{seen}: {said}");
                assert_eq!(said.ends_with("left"), step > 2, "{seen}: {said}");
                assert_eq!(said.ends_with("not left"), step == 4, "{seen}: {said}");
                assert!(c.is_told == (step < 2 || step == 2 && is_told), "{seen}");
            }
            let mut is_down = false;
            for w in &words {
                match w {
                    Word::Failed(_) => assert!(!std::mem::replace(&mut is_down, true), "{seen}: {}", line(&words)),
                    Word::Recovered => assert!(std::mem::take(&mut is_down), "{seen}: {}", line(&words)),
                    Word::Registered => assert!(!is_down, "{seen}: {}", line(&words)),
                    Word::Left(_) => {}
                }
            }
        }
    }
}
