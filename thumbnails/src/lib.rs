//! Small pictures of pictures.
//!
//! What always holds: no more is decoded than [`MOST_BYTES`] of pixels, so that a small file that
//! unfolds into a huge picture is refused before it does; the thumbnail is upright and holds
//! pixels alone, nothing of the metadata (places, cameras, profiles) of what it was made of.
//!
//! Must not: read or write anything but what it is handed.

use std::io::Cursor;

use image::codecs::jpeg::{JpegDecoder, JpegEncoder};
use image::codecs::png::{PngDecoder, PngEncoder};
use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, Limits};

/// Pixels of a thumbnail's longer side, at most.
pub const LONGER_SIDE: u32 = 320;
/// Bytes of decoded pixels, at most: 16 million of three bytes each. An isolate has 128 MB for
/// these, the file itself, and all else.
pub const MOST_BYTES: u64 = 48 * 1024 * 1024;
/// The same for progressive JPEG, whose decoder keeps up to twice as much besides.
pub const MOST_PROGRESSIVE_BYTES: u64 = 24 * 1024 * 1024;
/// Pixels of each side, at most.
pub const MOST_SIDE: u32 = 16_384;

const JPEG_QUALITY: u8 = 80;
/// The picture that a blurhash is made of has this many pixels on its longer side.
const BLURHASH_SIDE: u32 = 48;

/// A small picture of a picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thumbnail {
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// Its media type.
    pub content_type: &'static str,
    /// Pixels across of the original, upright.
    pub width: u32,
    /// Pixels down of the original, upright.
    pub height: u32,
    /// What stands in the picture's place until it is loaded (<https://blurha.sh>).
    pub blurhash: String,
}

/// Why there is no thumbnail.
#[derive(Debug, thiserror::Error)]
pub enum ThumbnailError {
    /// It is no JPEG, PNG or WebP, or not the one that its media type says.
    #[error("the bytes are not what the media type says")]
    NotThat,
    /// It has more pixels than are decoded.
    #[error("the picture is too large")]
    TooLarge,
    /// It cannot be decoded.
    #[error("the picture cannot be decoded")]
    Broken,
}

/// Makes a thumbnail of the bytes of a picture of this media type.
///
/// # Errors
/// [`ThumbnailError`].
pub fn make(bytes: &[u8], content_type: &str) -> Result<Thumbnail, ThumbnailError> {
    let format = match content_type {
        "image/jpeg" => ImageFormat::Jpeg,
        "image/png" => ImageFormat::Png,
        "image/webp" => ImageFormat::WebP,
        _ => return Err(ThumbnailError::NotThat),
    };
    if image::guess_format(bytes).ok() != Some(format) {
        return Err(ThumbnailError::NotThat);
    }
    let reader = Cursor::new(bytes);
    let upright = match format {
        ImageFormat::Jpeg => {
            let most = if is_progressive(bytes) {
                MOST_PROGRESSIVE_BYTES
            } else {
                MOST_BYTES
            };
            decode(JpegDecoder::new(reader).map_err(told)?, most)?
        }
        ImageFormat::Png => {
            let limits = limits(MOST_BYTES);
            decode(
                PngDecoder::with_limits(reader, limits).map_err(told)?,
                MOST_BYTES,
            )?
        }
        _ => decode(WebPDecoder::new(reader).map_err(told)?, MOST_BYTES)?,
    };
    let Upright {
        small,
        width,
        height,
    } = upright;
    let blurhash = blurhash_of(&small)?;
    let (bytes, content_type) = encode(&small)?;
    Ok(Thumbnail {
        bytes,
        content_type,
        width,
        height,
        blurhash,
    })
}

fn limits(most_bytes: u64) -> Limits {
    let mut limits = Limits::default();
    limits.max_image_width = Some(MOST_SIDE);
    limits.max_image_height = Some(MOST_SIDE);
    limits.max_alloc = Some(most_bytes);
    limits
}

/// A picture that was made small and turned upright, and its sides before it was made small.
struct Upright {
    small: DynamicImage,
    width: u32,
    height: u32,
}

/// Decodes a picture that is not too large.
fn decode(mut decoder: impl ImageDecoder, most: u64) -> Result<Upright, ThumbnailError> {
    let (width, height) = decoder.dimensions();
    if width > MOST_SIDE || height > MOST_SIDE || decoder.total_bytes() > most {
        return Err(ThumbnailError::TooLarge);
    }
    decoder.set_limits(limits(most)).map_err(told)?;
    // Metadata that cannot be read turns nothing.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let picture = DynamicImage::from_decoder(decoder).map_err(told)?;
    let sides = match orientation {
        Orientation::Rotate90
        | Orientation::Rotate270
        | Orientation::Rotate90FlipH
        | Orientation::Rotate270FlipH => (picture.height(), picture.width()),
        _ => (picture.width(), picture.height()),
    };
    // Turned only once it is small: turning takes a copy.
    let mut small = shrink(picture, LONGER_SIDE);
    small.apply_orientation(orientation);
    Ok(Upright {
        small,
        width: sides.0,
        height: sides.1,
    })
}

fn shrink(picture: DynamicImage, side: u32) -> DynamicImage {
    if picture.width() <= side && picture.height() <= side {
        return picture;
    }
    picture.thumbnail(side, side)
}

fn encode(small: &DynamicImage) -> Result<(Vec<u8>, &'static str), ThumbnailError> {
    let mut bytes = Vec::new();
    let rgba = small.to_rgba8();
    let is_opaque = rgba.pixels().all(|pixel| pixel.0.last() == Some(&u8::MAX));
    if is_opaque {
        let encoder = JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY);
        small.to_rgb8().write_with_encoder(encoder).map_err(told)?;
        Ok((bytes, "image/jpeg"))
    } else {
        rgba.write_with_encoder(PngEncoder::new(&mut bytes))
            .map_err(told)?;
        Ok((bytes, "image/png"))
    }
}

fn blurhash_of(small: &DynamicImage) -> Result<String, ThumbnailError> {
    let tiny = shrink(small.clone(), BLURHASH_SIDE).to_rgba8();
    let (across, down) = if tiny.width() >= tiny.height() {
        (4, 3)
    } else {
        (3, 4)
    };
    blurhash::encode(across, down, tiny.width(), tiny.height(), tiny.as_raw())
        .map_err(|_| ThumbnailError::Broken)
}

fn told(error: ImageError) -> ThumbnailError {
    match error {
        ImageError::Limits(_) => ThumbnailError::TooLarge,
        _ => ThumbnailError::Broken,
    }
}

/// Whether a JPEG is progressive: its frame header is SOF2 (ITU-T T.81, table B.1).
fn is_progressive(bytes: &[u8]) -> bool {
    let mut at = 2;
    while let Some([0xff, marker, high, low]) = bytes
        .get(at..at + 4)
        .and_then(|head| head.first_chunk::<4>())
    {
        match *marker {
            // Frame headers: SOF2, SOF6, SOF10 and SOF14 are progressive.
            0xc2 | 0xc6 | 0xca | 0xce => return true,
            0xc0 | 0xc1 | 0xc3 | 0xc5 | 0xc7 | 0xc9 | 0xcb | 0xcd | 0xcf | 0xda => return false,
            _ => at += 2 + usize::from(u16::from_be_bytes([*high, *low])),
        }
    }
    // One that is not read here is treated as the dearer kind.
    true
}

#[cfg(test)]
mod tests;
