//! Pixels: making a picture small, and turning it upright.
//!
//! Not `image::DynamicImage`, which would bring all of its conversions between color spaces: they
//! are larger than the rest of this crate together.

use image::ColorType;
use image::metadata::Orientation;

/// A picture in memory, four bytes a pixel: red, green, blue, opacity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Picture {
    /// Pixels across.
    pub width: u32,
    /// Pixels down.
    pub height: u32,
    /// The pixels, row by row.
    pub rgba: Vec<u8>,
}

/// Reads one pixel of so many bytes.
type Read = fn(&[u8]) -> [u8; 4];

/// How pixels of this type are read; nothing for those that are not.
fn reader(color: ColorType) -> Option<(usize, Read)> {
    // Of two bytes, in the machine's order, the higher.
    fn high(pair: [u8; 2]) -> u8 {
        u16::from_ne_bytes(pair).to_be_bytes()[0]
    }
    let read: Read = match color {
        ColorType::L8 => |p| match *p {
            [l, ..] => [l, l, l, u8::MAX],
            _ => [0; 4],
        },
        ColorType::La8 => |p| match *p {
            [l, a, ..] => [l, l, l, a],
            _ => [0; 4],
        },
        ColorType::Rgb8 => |p| match *p {
            [r, g, b, ..] => [r, g, b, u8::MAX],
            _ => [0; 4],
        },
        ColorType::Rgba8 => |p| match *p {
            [r, g, b, a, ..] => [r, g, b, a],
            _ => [0; 4],
        },
        ColorType::L16 => |p| match *p {
            [l0, l1, ..] => {
                let l = high([l0, l1]);
                [l, l, l, u8::MAX]
            }
            _ => [0; 4],
        },
        ColorType::La16 => |p| match *p {
            [l0, l1, a0, a1, ..] => {
                let l = high([l0, l1]);
                [l, l, l, high([a0, a1])]
            }
            _ => [0; 4],
        },
        ColorType::Rgb16 => |p| match *p {
            [r0, r1, g0, g1, b0, b1, ..] => {
                [high([r0, r1]), high([g0, g1]), high([b0, b1]), u8::MAX]
            }
            _ => [0; 4],
        },
        ColorType::Rgba16 => |p| match *p {
            [r0, r1, g0, g1, b0, b1, a0, a1, ..] => [
                high([r0, r1]),
                high([g0, g1]),
                high([b0, b1]),
                high([a0, a1]),
            ],
            _ => [0; 4],
        },
        _ => return None,
    };
    Some((usize::from(color.bytes_per_pixel()), read))
}

/// What pixels come to that become one.
#[derive(Debug, Clone, Copy, Default)]
struct Sum {
    rgb: [u64; 3],
    opacity: u64,
    count: u64,
}

impl Sum {
    /// What does not show does not count.
    fn add(&mut self, [r, g, b, a]: [u8; 4]) {
        let a = u64::from(a);
        for (sum, value) in self.rgb.iter_mut().zip([r, g, b]) {
            *sum += u64::from(value) * a;
        }
        self.opacity += a;
        self.count += 1;
    }

    fn mean(&self) -> [u8; 4] {
        let byte = |sum: u64, count: u64| u8::try_from(sum / count.max(1)).unwrap_or(u8::MAX);
        let [r, g, b] = self.rgb.map(|sum| byte(sum, self.opacity));
        [r, g, b, byte(self.opacity, self.count)]
    }
}

/// Makes a picture whose pixels are `raw` at most `side` pixels long and high. Nothing where they
/// are of a type that is not read.
pub fn shrink(raw: &[u8], color: ColorType, width: u32, height: u32, side: u32) -> Option<Picture> {
    let (pixel, read) = reader(color)?;
    let longer = width.max(height).max(1);
    let scaled = |length: u32| {
        if longer <= side {
            return length;
        }
        let scaled = u64::from(length) * u64::from(side) / u64::from(longer);
        u32::try_from(scaled).unwrap_or(side).max(1)
    };
    let (across, down) = (scaled(width), scaled(height));
    // From where to where the pixels lie that become the one at `at`.
    let span = |at: u32, from: u32, to: u32| {
        let edge = |at: u32| u64::from(at) * u64::from(from) / u64::from(to.max(1));
        let (first, end) = (edge(at), edge(at + 1));
        let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
        (size(first), size(end.max(first + 1)))
    };
    let stride = usize::try_from(width).ok()?.checked_mul(pixel)?;
    let mut rgba = Vec::new();
    for y in 0..down {
        let (first, end) = span(y, height, down);
        let mut sums = vec![Sum::default(); usize::try_from(across).ok()?];
        for row in raw.chunks_exact(stride).skip(first).take(end - first) {
            for (x, sum) in (0..across).zip(&mut sums) {
                let (first, end) = span(x, width, across);
                let cells = row.get(first * pixel..end * pixel).unwrap_or_default();
                cells
                    .chunks_exact(pixel)
                    .for_each(|cell| sum.add(read(cell)));
            }
        }
        rgba.extend(sums.iter().flat_map(Sum::mean));
    }
    Some(Picture {
        width: across,
        height: down,
        rgba,
    })
}

/// Whether turning upright exchanges the sides.
pub const fn is_lying(orientation: Orientation) -> bool {
    matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    )
}

impl Picture {
    /// The picture, turned upright.
    pub fn upright(self, orientation: Orientation) -> Self {
        let (w, h) = (self.width, self.height);
        let (width, height) = if is_lying(orientation) {
            (h, w)
        } else {
            (w, h)
        };
        let mut rgba = Vec::with_capacity(self.rgba.len());
        for y in 0..height {
            for x in 0..width {
                // Where the pixel was.
                let (from_x, from_y) = match orientation {
                    Orientation::NoTransforms => (x, y),
                    Orientation::FlipHorizontal => (w - 1 - x, y),
                    Orientation::Rotate180 => (w - 1 - x, h - 1 - y),
                    Orientation::FlipVertical => (x, h - 1 - y),
                    Orientation::Rotate90FlipH => (y, x),
                    Orientation::Rotate90 => (y, h - 1 - x),
                    Orientation::Rotate270FlipH => (w - 1 - y, h - 1 - x),
                    Orientation::Rotate270 => (w - 1 - y, x),
                };
                let at = (u64::from(from_y) * u64::from(w) + u64::from(from_x)) * 4;
                let pixel = usize::try_from(at)
                    .ok()
                    .and_then(|at| self.rgba.get(at..at + 4))
                    .unwrap_or(&[0; 4]);
                rgba.extend_from_slice(pixel);
            }
        }
        Self {
            width,
            height,
            rgba,
        }
    }

    /// Whether nothing shows through.
    pub fn is_opaque(&self) -> bool {
        let mut pixels = self.rgba.chunks_exact(4);
        pixels.all(|pixel| pixel.last() == Some(&u8::MAX))
    }

    /// The pixels without their opacity.
    pub fn rgb(&self) -> Vec<u8> {
        let pixels = self.rgba.chunks_exact(4);
        pixels
            .flat_map(|pixel| pixel.iter().take(3).copied())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_made_small_by_the_mean_of_its_pixels() {
        let raw = [10, 20, 30, 40, 50, 60, 70, 80];
        let small = shrink(&raw, ColorType::L8, 4, 2, 2).unwrap();
        assert_eq!((small.width, small.height), (2, 1));
        assert_eq!(small.rgba, [35, 35, 35, 255, 55, 55, 55, 255]);
        let same = shrink(&raw, ColorType::L8, 4, 2, 4).unwrap();
        assert_eq!((same.width, same.height, same.rgb().len()), (4, 2, 24));
        let line = shrink(&[9; 300], ColorType::L8, 300, 1, 30).unwrap();
        assert_eq!((line.width, line.height), (30, 1));
    }

    #[test]
    fn every_type_of_pixel_is_read() {
        let two = |value: u16| value.to_ne_bytes();
        let wide = |values: &[u16]| values.iter().flat_map(|v| two(*v)).collect::<Vec<_>>();
        for (color, raw, expected) in [
            (ColorType::L8, vec![5], [5, 5, 5, 255]),
            (ColorType::La8, vec![5, 6], [5, 5, 5, 6]),
            (ColorType::Rgb8, vec![1, 2, 3], [1, 2, 3, 255]),
            (ColorType::Rgba8, vec![1, 2, 3, 4], [1, 2, 3, 4]),
            (ColorType::L16, wide(&[0x0512]), [5, 5, 5, 255]),
            (ColorType::La16, wide(&[0x0512, 0x0600]), [5, 5, 5, 6]),
            (
                ColorType::Rgb16,
                wide(&[0x0100, 0x0200, 0x0300]),
                [1, 2, 3, 255],
            ),
            (
                ColorType::Rgba16,
                wide(&[0x0100, 0x0200, 0x0300, 0x0400]),
                [1, 2, 3, 4],
            ),
        ] {
            assert_eq!(
                shrink(&raw, color, 1, 1, 9).unwrap().rgba,
                expected,
                "{color:?}"
            );
        }
        assert_eq!(shrink(&[0; 12], ColorType::Rgb32F, 1, 1, 9), None);
    }

    #[test]
    fn what_does_not_show_does_not_color_the_rest() {
        let raw = [255, 0, 0, 255, 0, 255, 0, 0];
        let small = shrink(&raw, ColorType::Rgba8, 2, 1, 1).unwrap();
        assert_eq!(small.rgba, [255, 0, 0, 127]);
    }
}
