//! Pictures that are as they should be, and such as are not.

use image::{ExtendedColorType, ImageEncoder as _, Rgb, RgbImage, RgbaImage};

use super::*;

/// Left half red, right half blue.
fn two_halves(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, _| {
        if x < width / 2 {
            Rgb([220, 20, 20])
        } else {
            Rgb([20, 20, 220])
        }
    })
}

fn jpeg(picture: &RgbImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    picture
        .write_with_encoder(JpegEncoder::new(&mut bytes))
        .unwrap();
    bytes
}

/// A JPEG with an EXIF segment: its orientation, and a camera's name that nobody is to see.
fn with_exif(jpeg: &[u8], orientation: u16) -> Vec<u8> {
    let mut tiff = b"MM\0\x2a\0\0\0\x08\0\x02".to_vec();
    let maker = b"SecretCamera\0";
    // 0x010f Make, ASCII, at offset 38; 0x0112 Orientation, SHORT.
    tiff.extend([0x01, 0x0f, 0, 2, 0, 0, 0, maker.len() as u8, 0, 0, 0, 38]);
    tiff.extend([0x01, 0x12, 0, 3, 0, 0, 0, 1]);
    tiff.extend(orientation.to_be_bytes());
    tiff.extend([0, 0, 0, 0, 0, 0]);
    tiff.extend(maker);
    let mut segment = b"Exif\0\0".to_vec();
    segment.extend(tiff);
    let mut bytes = jpeg[..2].to_vec();
    bytes.extend([0xff, 0xe1]);
    bytes.extend(u16::try_from(segment.len() + 2).unwrap().to_be_bytes());
    bytes.extend(segment);
    bytes.extend(&jpeg[2..]);
    bytes
}

fn decoded(thumbnail: &Thumbnail) -> RgbImage {
    image::load_from_memory(&thumbnail.bytes).unwrap().to_rgb8()
}

fn is_red(pixel: &Rgb<u8>) -> bool {
    pixel.0[0] > 150 && pixel.0[2] < 100
}

fn contains(bytes: &[u8], text: &[u8]) -> bool {
    bytes.windows(text.len()).any(|window| window == text)
}

#[test]
fn a_photo_is_made_small_upright_and_without_metadata() {
    // Of a camera held upright, that stores its pictures lying: to be turned by a quarter.
    let photo = with_exif(&jpeg(&two_halves(800, 600)), 6);
    assert!(contains(&photo, b"SecretCamera"));
    let thumbnail = make(&photo, "image/jpeg").unwrap();
    assert_eq!((thumbnail.width, thumbnail.height), (600, 800));
    assert_eq!(thumbnail.content_type, "image/jpeg");
    let small = decoded(&thumbnail);
    assert_eq!(small.dimensions(), (240, 320));
    // What was on the left is on top.
    assert!(is_red(small.get_pixel(120, 20)) && !is_red(small.get_pixel(120, 300)));
    for trace in [&b"Exif"[..], b"SecretCamera", b"ICC_PROFILE"] {
        assert!(!contains(&thumbnail.bytes, trace));
    }
}

#[test]
fn every_orientation_is_turned_upright() {
    // Where red is to be, by EXIF's orientation (1 to 8): left, right, top or bottom.
    let expected = [
        "left", "right", "right", "left", "top", "top", "bottom", "bottom",
    ];
    for (orientation, expected) in (1..=8).zip(expected) {
        let photo = with_exif(&jpeg(&two_halves(640, 400)), orientation);
        let small = decoded(&make(&photo, "image/jpeg").unwrap());
        let (width, height) = small.dimensions();
        let at = |name: &str| match name {
            "left" => small.get_pixel(5, height / 2),
            "right" => small.get_pixel(width - 5, height / 2),
            "top" => small.get_pixel(width / 2, 5),
            _ => small.get_pixel(width / 2, height - 5),
        };
        assert!(
            is_red(at(expected)),
            "orientation {orientation}: {expected}"
        );
        assert_eq!(width > height, orientation <= 4);
    }
}

#[test]
fn what_shows_through_stays_so() {
    let picture = RgbaImage::from_fn(400, 100, |x, _| {
        image::Rgba([10, 200, 10, if x < 200 { 0 } else { 255 }])
    });
    let mut bytes = Vec::new();
    picture
        .write_with_encoder(PngEncoder::new(&mut bytes))
        .unwrap();
    let thumbnail = make(&bytes, "image/png").unwrap();
    assert_eq!(thumbnail.content_type, "image/png");
    let small = image::load_from_memory(&thumbnail.bytes)
        .unwrap()
        .to_rgba8();
    assert_eq!(small.dimensions(), (320, 80));
    assert_eq!(small.get_pixel(5, 40).0[3], 0);
}

#[test]
fn webp_is_read_and_a_small_picture_is_not_enlarged() {
    let picture = two_halves(60, 20);
    let mut bytes = Vec::new();
    let encoder = image::codecs::webp::WebPEncoder::new_lossless(&mut bytes);
    encoder
        .write_image(picture.as_raw(), 60, 20, ExtendedColorType::Rgb8)
        .unwrap();
    let thumbnail = make(&bytes, "image/webp").unwrap();
    assert_eq!(decoded(&thumbnail).dimensions(), (60, 20));
    assert_eq!(thumbnail.blurhash.len(), 4 + 2 * 4 * 3);
}

#[test]
fn what_is_not_what_it_says_is_refused() {
    let photo = jpeg(&two_halves(20, 20));
    for (bytes, content_type) in [
        (&b"<html><script>alert(1)</script>"[..], "image/png"),
        (&photo, "image/png"),
        (&photo, "image/gif"),
        (b"", "image/jpeg"),
        (b"\xff\xd8\xff", "image/jpeg"),
    ] {
        assert!(make(bytes, content_type).is_err(), "{content_type}");
    }
}

#[test]
fn a_broken_picture_is_refused_wherever_it_breaks() {
    let photo = with_exif(&jpeg(&two_halves(64, 64)), 6);
    for end in (0..photo.len()).step_by(7) {
        // A decoder may make do with what there is; it must come to an end.
        let _ = make(&photo[..end], "image/jpeg");
    }
    for at in 2..photo.len() {
        let mut changed = photo.clone();
        changed[at] ^= 0x5a;
        let _ = make(&changed, "image/jpeg");
    }
}

#[test]
fn a_picture_that_unfolds_beyond_the_bounds_is_refused_before_it_does() {
    // A PNG that says that it is 16,000 by 16,000: a header, and hardly anything else.
    let mut bytes = Vec::new();
    two_halves(10, 10)
        .write_with_encoder(PngEncoder::new(&mut bytes))
        .unwrap();
    let claim = |width: u32, height: u32| {
        let mut bytes = bytes.clone();
        bytes[16..20].copy_from_slice(&width.to_be_bytes());
        bytes[20..24].copy_from_slice(&height.to_be_bytes());
        let crc = crc32(&bytes[12..29]);
        bytes[29..33].copy_from_slice(&crc.to_be_bytes());
        make(&bytes, "image/png")
    };
    for (width, height) in [(16_000, 16_000), (100_000, 1), (1, 100_000), (5000, 4000)] {
        let refused = claim(width, height).unwrap_err();
        assert!(
            matches!(refused, ThumbnailError::TooLarge),
            "{width} {height}: {refused:?}"
        );
    }
    assert!(matches!(claim(0, 10).unwrap_err(), ThumbnailError::Broken));
}

/// The CRC of PNG chunks (RFC 2083, section 15).
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 {
                (crc >> 1) ^ 0xedb8_8320
            } else {
                crc >> 1
            }
        })
    })
}

#[test]
fn a_progressive_jpeg_is_recognised() {
    let photo = jpeg(&two_halves(20, 20));
    assert!(!is_progressive(&photo));
    let at = photo
        .windows(2)
        .position(|pair| pair == [0xff, 0xc0])
        .unwrap();
    let mut progressive = photo;
    progressive[at + 1] = 0xc2;
    assert!(is_progressive(&progressive));
    assert!(is_progressive(b"\xff\xd8"));
}
