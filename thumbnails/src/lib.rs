//! Small pictures of pictures.
//!
//! What always holds: no more is decoded than [`MOST_BYTES`] of pixels, so that a small file that
//! unfolds into a huge picture is refused before it does; the thumbnail is upright and holds
//! pixels alone, nothing of the metadata (places, cameras, profiles) of what it was made of.
//!
//! Must not: read or write anything but what it is handed.

mod pixels;

use std::io::Cursor;

use image::codecs::jpeg::{JpegDecoder, JpegEncoder};
use image::codecs::png::{PngDecoder, PngEncoder};
use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;
use image::{
    ColorType, ExtendedColorType, ImageDecoder, ImageEncoder as _, ImageError, ImageFormat, Limits,
};

use crate::pixels::Picture;

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
    small: Picture,
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
    let color = decoder.color_type();
    let bytes = usize::try_from(decoder.total_bytes()).map_err(|_| ThumbnailError::TooLarge)?;
    let mut raw = vec![0; bytes];
    decoder.read_image(&mut raw).map_err(told)?;
    // Turned only once it is small: turning takes a copy.
    let small = pixels::shrink(&raw, color, width, height, LONGER_SIDE)
        .ok_or(ThumbnailError::Broken)?
        .upright(orientation);
    let (width, height) = if pixels::is_lying(orientation) {
        (height, width)
    } else {
        (width, height)
    };
    Ok(Upright {
        small,
        width,
        height,
    })
}

fn encode(small: &Picture) -> Result<(Vec<u8>, &'static str), ThumbnailError> {
    let (width, height) = (small.width, small.height);
    let mut bytes = Vec::new();
    if small.is_opaque() {
        JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY)
            .encode(&small.rgb(), width, height, ExtendedColorType::Rgb8)
            .map_err(told)?;
        Ok((bytes, "image/jpeg"))
    } else {
        PngEncoder::new(&mut bytes)
            .write_image(&small.rgba, width, height, ExtendedColorType::Rgba8)
            .map_err(told)?;
        Ok((bytes, "image/png"))
    }
}

fn blurhash_of(small: &Picture) -> Result<String, ThumbnailError> {
    let (width, height) = (small.width, small.height);
    let tiny = pixels::shrink(&small.rgba, ColorType::Rgba8, width, height, BLURHASH_SIDE)
        .ok_or(ThumbnailError::Broken)?;
    let (across, down) = if width >= height { (4, 3) } else { (3, 4) };
    blurhash::encode(across, down, tiny.width, tiny.height, &tiny.rgba)
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
