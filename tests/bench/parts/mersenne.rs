//! The Mersenne Twister MT19937 as Python's `random` draws from it, so that notes made here are the
//! same bytes as those of generators written in Python.
//!
//! Source: Matsumoto and Nishimura, "Mersenne Twister", ACM TOMACS 8 (1998); CPython 3.11,
//! `Modules/_randommodule.c` and `Lib/random.py`.

const N: usize = 624;
const M: usize = 397;

/// A generator of pseudo-random numbers.
#[derive(Debug)]
pub(crate) struct Mersenne {
    state: [u32; N],
    at: usize,
    /// The second of a pair of normally distributed numbers, if the first was drawn.
    gauss_next: Option<f64>,
}

impl Mersenne {
    /// Seeded as by `random.Random(seed)`.
    pub(crate) fn new(seed: u32) -> Self {
        let mut state = [0_u32; N];
        state[0] = 19_650_218;
        for i in 1..N {
            state[i] = scrambled(state[i - 1], 1_812_433_253).wrapping_add(i as u32);
        }
        let mut i = 1;
        for _ in 0..N {
            state[i] = (state[i] ^ scrambled(state[i - 1], 1_664_525)).wrapping_add(seed);
            i = next_place(&mut state, i);
        }
        for _ in 0..N - 1 {
            let mixed = state[i] ^ scrambled(state[i - 1], 1_566_083_941);
            state[i] = mixed.wrapping_sub(i as u32);
            i = next_place(&mut state, i);
        }
        state[0] = 0x8000_0000;
        Self { state, at: N, gauss_next: None }
    }

    fn word(&mut self) -> u32 {
        if self.at == N {
            for i in 0..N {
                let joined = self.state[i] & 0x8000_0000 | self.state[(i + 1) % N] & 0x7fff_ffff;
                let twist = if joined & 1 == 1 { 0x9908_b0df } else { 0 };
                self.state[i] = self.state[(i + M) % N] ^ joined >> 1 ^ twist;
            }
            self.at = 0;
        }
        let mut word = self.state[self.at];
        self.at += 1;
        word ^= word >> 11;
        word ^= word << 7 & 0x9d2c_5680;
        word ^= word << 15 & 0xefc6_0000;
        word ^ word >> 18
    }

    /// A number of so many random bits, at most 128.
    pub(crate) fn bits(&mut self, count: u32) -> u128 {
        let mut number = 0;
        for from in (0..count).step_by(32) {
            let width = (count - from).min(32);
            number |= u128::from(self.word() >> (32 - width)) << from;
        }
        number
    }

    /// A number from 0 up to 1, 1 excluded.
    pub(crate) fn unit(&mut self) -> f64 {
        let (high, low) = (self.word() >> 5, self.word() >> 6);
        (f64::from(high) * 67_108_864.0 + f64::from(low)) / 9_007_199_254_740_992.0
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        let bits = usize::BITS - limit.leading_zeros();
        loop {
            let number = self.bits(bits) as usize;
            if number < limit {
                return number;
            }
        }
    }

    /// A number from `first` to `last`, both included.
    pub(crate) fn within(&mut self, first: usize, last: usize) -> usize {
        first + self.below(last - first + 1)
    }

    /// One of several.
    pub(crate) fn choice<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// A normally distributed number.
    pub(crate) fn gauss(&mut self, mean: f64, deviation: f64) -> f64 {
        let drawn = self.gauss_next.take().unwrap_or_else(|| {
            let angle = self.unit() * std::f64::consts::TAU;
            let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
            self.gauss_next = Some(angle.sin() * radius);
            angle.cos() * radius
        });
        mean + drawn * deviation
    }

    /// Puts items into a random order.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }

    /// So many different numbers below `limit`.
    pub(crate) fn sample(&mut self, limit: usize, count: usize) -> Vec<usize> {
        let mut small = 21;
        if count > 5 {
            small += 4_usize.pow((count as f64 * 3.0).log(4.0).ceil() as u32);
        }
        if limit <= small {
            let mut pool: Vec<usize> = (0..limit).collect();
            return (0..count).map(|taken| pool.swap_remove(self.below(limit - taken))).collect();
        }
        let mut chosen = Vec::new();
        while chosen.len() < count {
            let number = self.below(limit);
            if !chosen.contains(&number) {
                chosen.push(number);
            }
        }
        chosen
    }
}

fn scrambled(word: u32, by: u32) -> u32 {
    (word ^ word >> 30).wrapping_mul(by)
}

fn next_place(state: &mut [u32; N], i: usize) -> usize {
    if i + 1 < N {
        return i + 1;
    }
    state[0] = state[N - 1];
    1
}
