//! Media on the Worker's own bucket, as in development: addresses, bytes, thumbnails.

use image::{ExtendedColorType, ImageEncoder as _, Rgb, RgbImage};
use parlance_tests::media::{Fetched, fetch, put, put_with};
use parlance_tests::raw;
use parlance_tests::{Server, Socket, User, eventually, server, uuid};
use serde_json::{Value, json};

async fn pair() -> (User, User, String) {
    let [ann, bob] = User::sign_up_all(server::shared()).await;
    let id = ann.direct(&bob).await;
    (ann, bob, id)
}

fn noise(length: usize) -> Vec<u8> {
    (0..length as u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

/// A photo, red on the left and blue on the right, of a camera that was held upright: it says
/// that it is to be turned by a quarter, and by whom it was taken.
fn photo() -> Vec<u8> {
    let picture = RgbImage::from_fn(1600, 1200, |x, _| {
        if x < 800 {
            Rgb([220, 20, 20])
        } else {
            Rgb([20, 20, 220])
        }
    });
    let mut jpeg = Vec::new();
    image::codecs::jpeg::JpegEncoder::new(&mut jpeg)
        .write_image(picture.as_raw(), 1600, 1200, ExtendedColorType::Rgb8)
        .expect("a JPEG");
    let mut exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x02".to_vec();
    exif.extend(b"\x01\x0f\0\x02\0\0\0\x0d\0\0\0\x26\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0");
    exif.extend(b"SecretCamera\0");
    let mut photo = jpeg[..2].to_vec();
    photo.extend([0xff, 0xe1]);
    photo.extend(u16::try_from(exif.len() + 2).expect("short").to_be_bytes());
    photo.extend(exif);
    photo.extend(&jpeg[2..]);
    photo
}

async fn thumbnail_of(user: &User, media_id: &str) -> Fetched {
    let path = format!("/media/{media_id}/thumbnail");
    let address = eventually("the thumbnail to be made", async || {
        let reply = user.api.get(&path).await;
        (reply.status == 302).then(|| reply.header("location").to_owned())
    })
    .await;
    fetch("GET", &address, &[], None).await
}

#[tokio::test]
async fn a_photo_gets_a_thumbnail_that_is_upright_and_without_metadata() {
    let (ann, bob, id) = pair().await;
    let photo = photo();
    let media_id = ann.upload("image/jpeg", &photo).await;
    ann.send_medium(&id, "image", &media_id).await.ok(201);
    let thumbnail = thumbnail_of(&bob, &media_id).await;
    assert_eq!(thumbnail.header("content-type"), "image/jpeg");
    let small = image::load_from_memory(&thumbnail.bytes)
        .expect("a picture")
        .to_rgb8();
    assert_eq!(small.dimensions(), (240, 320));
    let (top, bottom) = (small.get_pixel(120, 20), small.get_pixel(120, 300));
    assert!(
        top.0[0] > 150 && bottom.0[2] > 150,
        "what was left is on top"
    );
    for trace in [&b"Exif"[..], b"SecretCamera"] {
        let has = thumbnail
            .bytes
            .windows(trace.len())
            .any(|window| window == trace);
        assert!(!has, "{}", String::from_utf8_lossy(trace));
    }
    let info = bob
        .api
        .get(&format!("/media/{media_id}/info"))
        .await
        .ok(200);
    assert_eq!(
        (&info["width"], &info["height"]),
        (&json!(1200), &json!(1600))
    );
    assert!(
        info["blurhash"]
            .as_str()
            .is_some_and(|text| text.len() == 28)
    );
    ann.send_medium(&id, "image", &media_id).await.ok(201);
    let again = &bob.events(&id, 1).await[0];
    assert_eq!(again["media"]["blurhash"], info["blurhash"]);
    assert!(
        bob.download(&media_id).await.bytes == photo,
        "the photo is as it was"
    );
}

#[tokio::test]
async fn what_is_no_picture_gets_no_thumbnail_and_is_not_shown_as_a_page() {
    let (ann, bob, id) = pair().await;
    let page = b"<html><script>alert(1)</script></html>";
    let lie = ann.upload("image/png", page).await;
    ann.send_medium(&id, "image", &lie).await.ok(201);
    eventually("the thumbnail to be given up", async || {
        let info = bob.api.get(&format!("/media/{lie}/info")).await.ok(200);
        (info["thumbnail"] == "none").then_some(())
    })
    .await;
    let shown = bob.download(&lie).await;
    assert_eq!(shown.header("content-type"), "image/png");
    let honest = ann.upload("text/html", page).await;
    ann.send_medium(&id, "file", &honest).await.ok(201);
    let downloaded = bob.download(&honest).await;
    assert_eq!(
        downloaded.header("content-type"),
        "application/octet-stream"
    );
    assert_eq!(downloaded.header("content-disposition"), "attachment");
    for answer in [shown, downloaded] {
        assert_eq!(answer.bytes, page);
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(
            answer.header("content-security-policy"),
            "sandbox; default-src 'none'"
        );
        assert_eq!(answer.header("cache-control"), "no-store");
    }
}

#[tokio::test]
async fn a_file_comes_back_whole_or_in_ranges() {
    let (ann, bob, id) = pair().await;
    let bytes = noise(5 * 1024 * 1024);
    let media_id = ann.upload("application/zip", &bytes).await;
    ann.send_medium(&id, "file", &media_id).await.ok(201);
    assert!(bob.download(&media_id).await.bytes == bytes, "it is whole");
    let address = bob.address_of(&format!("/media/{media_id}")).await;
    let size = bytes.len();
    for (range, status, wanted) in [
        ("bytes=0-9", 206, &bytes[..10]),
        ("bytes=1000000-1000999", 206, &bytes[1_000_000..1_001_000]),
        ("bytes=-5", 206, &bytes[size - 5..]),
        ("bytes=5242875-", 206, &bytes[size - 5..]),
        ("bytes=5242880-", 416, &[]),
    ] {
        let part = fetch("GET", &address, &[("range", range)], None).await;
        assert_eq!((part.status, &part.bytes[..]), (status, wanted), "{range}");
        assert!(
            part.header("content-range").ends_with("/5242880"),
            "{range}"
        );
    }
    let head = fetch("HEAD", &address, &[], None).await;
    assert_eq!(
        (head.status, head.header("content-length")),
        (200, "5242880")
    );
}

#[tokio::test]
async fn an_address_that_was_changed_or_is_foreign_is_refused() {
    let (ann, _, _) = pair().await;
    let other = Server::start_with(&[(
        "PHONE_HASH_KEY",
        "YW5vdGhlci1rZXktb2YtdGhpcnR5LXR3by1ieXRlcy4",
    )]);
    let stranger = User::sign_up(&other).await;
    let body = || json!({"content_type": "image/png", "size": 10});
    let ticket = ann.begin_upload(body()).await;
    let url = ticket["upload_url"].as_str().expect("an address");
    let foreign = stranger.begin_upload(body()).await;
    let foreign = foreign["upload_url"].as_str().expect("an address");
    let moved = foreign.replace(other.url(), server::shared().url());
    for wrong in [
        url.replace("size=10", "size=11"),
        url.replace("image%2Fpng", "text%2Fhtml"),
        url.replace("/original", "/thumbnail"),
        url.replace("/original", "/../original"),
        url.replace("expires=", "expires=9"),
        url.replace(ticket["media_id"].as_str().expect("an id"), &uuid()),
        format!("{url}x"),
        moved,
    ] {
        assert_ne!(wrong, url);
        let mut changed = ticket.clone();
        changed["upload_url"] = wrong.clone().into();
        let refused = put(&changed, b"0123456789").await;
        assert!(
            matches!(refused.status, 403 | 404),
            "{wrong}: {}",
            refused.status
        );
    }
    assert_eq!(
        fetch("GET", url, &[], None).await.status,
        403,
        "it is for uploading alone"
    );
    assert_eq!(fetch("DELETE", url, &[], None).await.status, 405);
    assert_eq!(put(&ticket, b"0123456789").await.status, 200);
    assert_eq!(
        put(&ticket, b"9876543210").await.status,
        409,
        "it is there already"
    );
    let media_id = ticket["media_id"].as_str().expect("an id");
    assert_eq!(ann.download(media_id).await.bytes, b"0123456789");
}

#[tokio::test]
async fn bytes_that_are_not_as_announced_are_refused() {
    let (ann, _, id) = pair().await;
    let ticket = ann
        .begin_upload(json!({"content_type": "image/png", "size": 10}))
        .await;
    for (bytes, why) in [
        (&b"012345678"[..], "shorter"),
        (b"0123456789a", "longer"),
        (b"", "empty"),
    ] {
        assert_eq!(put(&ticket, bytes).await.status, 400, "{why}");
    }
    for wrong in ["text/html", "image/png; charset=utf-8", ""] {
        let refused = put_with(&ticket, &[("content-type", wrong)], b"0123456789").await;
        assert_eq!(refused.status, 400, "{wrong}");
    }
    // One that announces its length, and then says less or nothing of it.
    let url = ticket["upload_url"].as_str().expect("an address");
    let (root, target) = url.split_at(server::shared().url().len());
    let head = format!(
        "PUT {target} HTTP/1.1\r\nhost: x\r\ncontent-type: image/png\r\ntransfer-encoding: chunked\r\n\r\na\r\n0123456789\r\n0\r\n\r\n"
    );
    assert_eq!(raw::status_of(root, head.as_bytes()).await, 400, "chunked");
    let media_id = ticket["media_id"].as_str().expect("an id");
    ann.send_medium(&id, "image", media_id)
        .await
        .invalid_field("media_id");
    // Of "0123456789".
    let sha256 = "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882";
    let body = json!({"content_type": "image/png", "size": 10, "sha256": sha256});
    let ticket = ann.begin_upload(body).await;
    assert_eq!(put(&ticket, b"9876543210").await.status, 400);
    assert_eq!(put(&ticket, b"0123456789").await.status, 200);
}

#[tokio::test]
async fn parts_are_uploaded_to_the_bucket_too() {
    let (ann, bob, id) = pair().await;
    const PART: usize = 8 * 1024 * 1024;
    let bytes = noise(PART + 77);
    let body = json!({"content_type": "video/mp4", "size": bytes.len(), "multipart": true});
    let begun = ann.begin_upload(body).await;
    let media_id = begun["media_id"].as_str().expect("an id");
    let path = format!("/media/{media_id}/parts");
    let signed = ann
        .api
        .post(&path, json!({"part_numbers": [1, 2]}))
        .await
        .ok(200);
    let mut parts = Vec::new();
    for (ticket, part) in signed["parts"]
        .as_array()
        .expect("a list")
        .iter()
        .zip([&bytes[..PART], &bytes[PART..]])
    {
        // Sent again, as after a connection that broke.
        put(ticket, part).await;
        let done = put(ticket, part).await;
        assert_eq!(done.status, 200);
        parts.push(json!({"part_number": ticket["part_number"], "etag": done.header("etag")}));
    }
    let complete = format!("/media/{media_id}/complete");
    let mut wrong = parts.clone();
    wrong[0]["etag"] = "\"00000000000000000000000000000000\"".into();
    ann.api
        .post(&complete, json!({"parts": wrong}))
        .await
        .invalid_field("parts");
    ann.api
        .post(&complete, json!({"parts": parts}))
        .await
        .ok(200);
    ann.api
        .post(&complete, json!({"parts": parts}))
        .await
        .ok(200);
    ann.send_medium(&id, "video", media_id).await.ok(201);
    assert!(bob.download(media_id).await.bytes == bytes, "it is whole");
    let late = put(&signed["parts"][0], &bytes[..PART]).await;
    assert_eq!(late.status, 409, "the upload is over");
}

#[tokio::test]
async fn a_medium_is_sent_over_both_sockets() {
    let (ann, bob, id) = pair().await;
    let media_id = ann.upload("image/gif", &noise(20)).await;
    let frame = |media_id: &str| {
        json!({"type": "send_message", "conversation_id": id, "client_msg_id": uuid(), "content": "",
            "content_type": "image", "media_id": media_id})
    };
    let (mut here, _) = Socket::open(&ann, &id).await;
    let (mut session, _) = Socket::session(&ann).await;
    for socket in [&mut here, &mut session] {
        socket.send(&frame(&media_id)).await;
        socket.until_type("msg_ack").await;
        socket.send(&frame(&uuid())).await;
        let refused = socket.until_type("error").await;
        assert_eq!(refused["code"], "invalid_request");
    }
    let log = bob.events(&id, 0).await;
    assert_eq!(log.len(), 2);
    assert!(log.iter().all(|event| event["media"]["size"] == 20));
}

#[tokio::test]
async fn an_unused_upload_goes_from_the_bucket_by_the_alarm() {
    let server = Server::start_with(&[("MEDIA_UNUSED_SECONDS", "8")]);
    let user = User::sign_up(&server).await;
    let media_id = user.upload("image/png", &noise(10)).await;
    let address = user.address_of(&format!("/media/{media_id}")).await;
    eventually("the bytes to go", async || {
        (fetch("GET", &address, &[], None).await.status == 404).then_some(())
    })
    .await;
    user.api
        .get(&format!("/media/{media_id}"))
        .await
        .problem(404, "not_found");
}

#[tokio::test]
async fn uploads_are_limited_to_five_a_second() {
    let server = Server::start_with(&[("RATE_LIMIT_SCALE", "1")]);
    let user = User::sign_up(&server).await;
    let body = || json!({"content_type": "image/png", "size": 10});
    let asked = (0..20).map(|_| user.api.post("/media/upload", body()));
    let replies = futures_util::future::join_all(asked).await;
    let refused: Vec<_> = replies.iter().filter(|reply| reply.status != 201).collect();
    assert!(!refused.is_empty());
    for reply in refused {
        reply.problem(429, "rate_limited");
    }
}

#[tokio::test]
async fn pages_of_listed_origins_can_upload() {
    let origin = "https://chat.example.com";
    let server = Server::start_with(&[("CORS_ORIGINS", origin)]);
    let user = User::sign_up(&server).await;
    let ticket = user
        .begin_upload(json!({"content_type": "image/png", "size": 10}))
        .await;
    let url = ticket["upload_url"].as_str().expect("an address");
    let headers = [
        ("origin", origin),
        ("access-control-request-method", "PUT"),
        ("access-control-request-headers", "content-type"),
    ];
    let leave = fetch("OPTIONS", url, &headers, None).await;
    assert_eq!(leave.status, 204);
    assert_eq!(leave.header("access-control-allow-origin"), origin);
    assert!(leave.header("access-control-allow-methods").contains("PUT"));
    let put = put_with(&ticket, &[("origin", origin)], b"0123456789").await;
    assert_eq!(
        (put.status, put.header("access-control-allow-origin")),
        (200, origin)
    );
}

#[tokio::test]
async fn an_empty_object_is_no_media_upload() {
    let user = User::sign_up(server::shared()).await;
    user.api
        .post("/media/upload", Value::Null)
        .await
        .problem(415, "unsupported_media_type");
    user.api
        .post("/media/upload", json!({}))
        .await
        .invalid_field("content_type");
}
