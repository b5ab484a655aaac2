//! Shortest-looking digits of a double, by the Grisu2 algorithm that Valkey's replies are made with.
//!
//! Where the sign, the point and the exponent go is `double.rs`'s business.
//!
//! Grisu2 (Florian Loitsch, "Printing Floating-Point Numbers Quickly and Accurately with Integers", PLDI 2010):
//! scale the number and the middles to its two neighbours by a cached power of ten so that the binary exponent
//! falls between -60 and -32, then cut digits off the upper middle until the rest lies within the interval. All of it
//! in 64-bit integers. In about one double of a thousand the result round-trips but is a digit longer than the shortest, or
//! not the closest of the shortest; an exact algorithm (Ryu) would therefore give other bytes than the server.

/// A number `frac * 2^exp`.
#[derive(Clone, Copy)]
struct Scaled {
    frac: u64,
    exp: i32,
}

const HIDDEN_BIT: u64 = 1 << 52;
const EXPONENT_BIAS: i32 = 1023 + 52;

/// Decimal digits of a finite double above zero: `0.d1d2... * 10^(len + exponent)`.
pub(super) struct Digits {
    buf: [u8; 18],
    len: usize,
    /// Power of ten that the integer made of the digits is multiplied with.
    pub(super) exponent: i32,
}

impl Digits {
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.buf[..self.len]
    }

    fn push(&mut self, digit: u64) {
        // Leading zeros carry no information and are not kept.
        if digit != 0 || self.len != 0 {
            self.buf[self.len] = b'0' + digit as u8;
            self.len += 1;
        }
    }

    /// Steps the last digit down while that brings the digits closer to the number and stays in the interval.
    fn approach(&mut self, delta: u64, mut rest: u64, step: u64, distance: u64) {
        while rest < distance
            && delta - rest >= step
            && (rest.wrapping_add(step) < distance
                || distance - rest > rest.wrapping_add(step).wrapping_sub(distance))
        {
            self.buf[self.len - 1] -= 1;
            rest += step;
        }
    }
}

/// Digits that parse back to `value`, which must be finite and above zero.
pub(super) fn digits(value: f64) -> Digits {
    debug_assert!(value.is_finite() && value > 0.0);
    let number = split(value);
    let (lower, upper) = middles(number);
    let (power, decimal_exponent) = cached_power(upper.exp);
    let number = multiply(normalised(number), power);
    let mut lower = multiply(lower, power);
    let mut upper = multiply(upper, power);
    // The products may be off by one unit: stay inside.
    lower.frac += 1;
    upper.frac -= 1;
    generate(number, lower, upper, -decimal_exponent)
}

fn split(value: f64) -> Scaled {
    let bits = value.to_bits();
    let frac = bits & (HIDDEN_BIT - 1);
    match (bits >> 52) as i32 {
        0 => Scaled { frac, exp: 1 - EXPONENT_BIAS },
        biased => Scaled { frac: frac | HIDDEN_BIT, exp: biased - EXPONENT_BIAS },
    }
}

fn normalised(number: Scaled) -> Scaled {
    let shift = number.frac.leading_zeros();
    Scaled { frac: number.frac << shift, exp: number.exp - shift as i32 }
}

/// The middles to the neighbouring doubles, with equal exponents. Below a power of two the gap is half as wide.
fn middles(number: Scaled) -> (Scaled, Scaled) {
    let upper = normalised(Scaled { frac: (number.frac << 1) + 1, exp: number.exp - 1 });
    let narrow = u32::from(number.frac == HIDDEN_BIT);
    let frac = (number.frac << (1 + narrow)) - 1;
    let exp = number.exp - 1 - narrow as i32;
    (Scaled { frac: frac << (exp - upper.exp), exp: upper.exp }, upper)
}

/// The upper half of the product, rounded to nearest on bit 63 of the lower one as far as 32-bit halves carry.
fn multiply(a: Scaled, b: Scaled) -> Scaled {
    const LOW: u64 = u32::MAX as u64;
    let (a_high, a_low) = (a.frac >> 32, a.frac & LOW);
    let (b_high, b_low) = (b.frac >> 32, b.frac & LOW);
    let (high_low, low_high) = (a_high * b_low, a_low * b_high);
    let carry = ((a_low * b_low) >> 32) + (high_low & LOW) + (low_high & LOW) + (1 << 31);
    Scaled {
        frac: a_high * b_high + (high_low >> 32) + (low_high >> 32) + (carry >> 32),
        exp: a.exp + b.exp + 64,
    }
}

/// The cached power that brings `exp` into the window, and its decimal exponent. Two may fit: the search starts
/// from the estimate and moves by single steps, and the digits depend on which is met first.
fn cached_power(exp: i32) -> (Scaled, i32) {
    let estimate = (f64::from(-(exp + POWERS.len() as i32)) * std::f64::consts::LOG10_2) as i32;
    let mut index = ((estimate - FIRST_POWER) / POWER_STEP) as usize;
    loop {
        let (frac, power_exp) = POWERS[index];
        match exp + power_exp + 64 {
            below if below < -60 => index += 1,
            above if above > -32 => index -= 1,
            _ => {
                let decimal_exponent = FIRST_POWER + index as i32 * POWER_STEP;
                return (Scaled { frac, exp: power_exp }, decimal_exponent);
            }
        }
    }
}

fn generate(number: Scaled, lower: Scaled, upper: Scaled, exponent: i32) -> Digits {
    let mut digits = Digits { buf: [0; 18], len: 0, exponent };
    let shift = -upper.exp as u32;
    let one = 1u64 << shift;
    let mut distance = upper.frac - number.frac;
    let mut delta = upper.frac - lower.frac;
    let mut whole = upper.frac >> shift;
    let mut part = upper.frac & (one - 1);

    let mut divisor = 1_000_000_000u64;
    for kappa in (0..10).rev() {
        digits.push(whole / divisor);
        whole %= divisor;
        let rest = (whole << shift) + part;
        if rest <= delta {
            digits.exponent += kappa;
            digits.approach(delta, rest, divisor << shift, distance);
            return digits;
        }
        divisor /= 10;
    }
    loop {
        part *= 10;
        delta *= 10;
        distance = distance.wrapping_mul(10);
        digits.exponent -= 1;
        digits.push(part >> shift);
        part &= one - 1;
        if part < delta {
            digits.approach(delta, part, one, distance);
            return digits;
        }
    }
}

const FIRST_POWER: i32 = -348;
const POWER_STEP: i32 = 8;

/// Powers of ten from 1e-348 to 1e340 in steps of 1e8: 64-bit fraction rounded to nearest, binary exponent.
#[rustfmt::skip]
const POWERS: [(u64, i32); 87] = [
    (0xfa8fd5a0081c0288, -1220), (0xbaaee17fa23ebf76, -1193), (0x8b16fb203055ac76, -1166),
    (0xcf42894a5dce35ea, -1140), (0x9a6bb0aa55653b2d, -1113), (0xe61acf033d1a45df, -1087),
    (0xab70fe17c79ac6ca, -1060), (0xff77b1fcbebcdc4f, -1034), (0xbe5691ef416bd60c, -1007),
    (0x8dd01fad907ffc3c, -980), (0xd3515c2831559a83, -954), (0x9d71ac8fada6c9b5, -927),
    (0xea9c227723ee8bcb, -901), (0xaecc49914078536d, -874), (0x823c12795db6ce57, -847),
    (0xc21094364dfb5637, -821), (0x9096ea6f3848984f, -794), (0xd77485cb25823ac7, -768),
    (0xa086cfcd97bf97f4, -741), (0xef340a98172aace5, -715), (0xb23867fb2a35b28e, -688),
    (0x84c8d4dfd2c63f3b, -661), (0xc5dd44271ad3cdba, -635), (0x936b9fcebb25c996, -608),
    (0xdbac6c247d62a584, -582), (0xa3ab66580d5fdaf6, -555), (0xf3e2f893dec3f126, -529),
    (0xb5b5ada8aaff80b8, -502), (0x87625f056c7c4a8b, -475), (0xc9bcff6034c13053, -449),
    (0x964e858c91ba2655, -422), (0xdff9772470297ebd, -396), (0xa6dfbd9fb8e5b88f, -369),
    (0xf8a95fcf88747d94, -343), (0xb94470938fa89bcf, -316), (0x8a08f0f8bf0f156b, -289),
    (0xcdb02555653131b6, -263), (0x993fe2c6d07b7fac, -236), (0xe45c10c42a2b3b06, -210),
    (0xaa242499697392d3, -183), (0xfd87b5f28300ca0e, -157), (0xbce5086492111aeb, -130),
    (0x8cbccc096f5088cc, -103), (0xd1b71758e219652c, -77), (0x9c40000000000000, -50),
    (0xe8d4a51000000000, -24), (0xad78ebc5ac620000, 3), (0x813f3978f8940984, 30),
    (0xc097ce7bc90715b3, 56), (0x8f7e32ce7bea5c70, 83), (0xd5d238a4abe98068, 109),
    (0x9f4f2726179a2245, 136), (0xed63a231d4c4fb27, 162), (0xb0de65388cc8ada8, 189),
    (0x83c7088e1aab65db, 216), (0xc45d1df942711d9a, 242), (0x924d692ca61be758, 269),
    (0xda01ee641a708dea, 295), (0xa26da3999aef774a, 322), (0xf209787bb47d6b85, 348),
    (0xb454e4a179dd1877, 375), (0x865b86925b9bc5c2, 402), (0xc83553c5c8965d3d, 428),
    (0x952ab45cfa97a0b3, 455), (0xde469fbd99a05fe3, 481), (0xa59bc234db398c25, 508),
    (0xf6c69a72a3989f5c, 534), (0xb7dcbf5354e9bece, 561), (0x88fcf317f22241e2, 588),
    (0xcc20ce9bd35c78a5, 614), (0x98165af37b2153df, 641), (0xe2a0b5dc971f303a, 667),
    (0xa8d9d1535ce3b396, 694), (0xfb9b7cd9a4a7443c, 720), (0xbb764c4ca7a44410, 747),
    (0x8bab8eefb6409c1a, 774), (0xd01fef10a657842c, 800), (0x9b10a4e5e9913129, 827),
    (0xe7109bfba19c0c9d, 853), (0xac2820d9623bf429, 880), (0x80444b5e7aa7cf85, 907),
    (0xbf21e44003acdd2d, 933), (0x8e679c2f5e44ff8f, 960), (0xd433179d9c8cb841, 986),
    (0x9e19db92b4e31ba9, 1013), (0xeb96bf6ebadf77d9, 1039), (0xaf87023b9bf0ee6b, 1066),
];

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn digits_parse_back_to_the_number(bits in 1u64..0x7ff0_0000_0000_0000) {
            let value = f64::from_bits(bits);
            let digits = digits(value);
            let text = format!("{}e{}", std::str::from_utf8(digits.as_bytes()).unwrap(), digits.exponent);
            prop_assert_eq!(text.parse::<f64>().unwrap().to_bits(), bits);
        }
    }

    #[test]
    fn the_extremes_have_digits() {
        for value in [f64::MAX, f64::MIN_POSITIVE, f64::from_bits(1), 1.0, 1e23] {
            let digits = digits(value);
            let text = format!("{}e{}", std::str::from_utf8(digits.as_bytes()).unwrap(), digits.exponent);
            assert_eq!(text.parse::<f64>().unwrap(), value);
        }
    }
}
