//! Media at an S3 endpoint that checks signatures.

use std::sync::LazyLock;

use parlance_tests::media::{fetch, put, put_with};
use parlance_tests::s3::S3Endpoint;
use parlance_tests::{Edition, Server, User, eventually, server, uuid};
use serde_json::{Value, json};

static ENDPOINT: LazyLock<S3Endpoint> = LazyLock::new(S3Endpoint::start);
static SERVER: LazyLock<Server> = LazyLock::new(|| Server::start_with(&ENDPOINT.vars()));

async fn people() -> (User, User, User, String) {
    let [ann, bob, eve] = User::sign_up_all(&SERVER).await;
    let id = ann.direct(&bob).await;
    (ann, bob, eve, id)
}

fn noise(length: usize) -> Vec<u8> {
    (0..length as u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

#[tokio::test]
async fn a_medium_is_uploaded_sent_and_fetched_by_its_members_alone() {
    let (ann, bob, eve, id) = people().await;
    let bytes = noise(300_000);
    let media_id = ann.upload("application/pdf", &bytes).await;
    let ack = ann.send_medium(&id, "file", &media_id).await.ok(201);
    let log = bob.events(&id, 0).await;
    assert_eq!(log[0]["media_id"], media_id.as_str());
    assert_eq!(log[0]["seq"], ack["seq"]);
    let url = log[0]["media_url"].as_str().expect("a media_url");
    assert_eq!(log[0]["media"]["size"], 300_000);
    for user in [&ann, &bob] {
        let fetched = user.download(&media_id).await;
        assert_eq!((fetched.status, &fetched.bytes), (200, &bytes));
        assert_eq!(fetched.header("content-type"), "application/pdf");
        assert!(
            fetched
                .header("content-disposition")
                .starts_with("attachment")
        );
    }
    // A message's own link names the conversation, which makes it one question.
    let path = url.strip_prefix("/api/v1").expect("a path of the API");
    let address = bob.address_of(path).await;
    let part = fetch("GET", &address, &[("range", "bytes=100-199")], None).await;
    assert_eq!((part.status, &part.bytes[..]), (206, &bytes[100..200]));
    for path in ["", "/thumbnail", "/info"] {
        let path = format!("/media/{media_id}{path}");
        eve.api.get(&path).await.problem(404, "not_found");
        eve.api
            .without_token()
            .get(&path)
            .await
            .problem(401, "unauthenticated");
    }
    let hint = format!("/media/{media_id}?conversation_id={id}");
    eve.api.get(&hint).await.problem(404, "not_found");
    let refused = eve
        .api
        .ask("DELETE", &format!("/media/{media_id}"), Value::Null)
        .await;
    refused.problem(404, "not_found");
}

#[tokio::test]
async fn an_upload_that_is_not_what_was_announced_is_refused() {
    let (ann, _, _, id) = people().await;
    let body = json!({"content_type": "image/png", "size": 10});
    let ticket = ann.begin_upload(body).await;
    let media_id = ticket["media_id"].as_str().expect("an id");
    for wrong in [&b"012345678"[..], b"0123456789a", b""] {
        assert!(
            put(&ticket, wrong).await.status >= 400,
            "{} bytes",
            wrong.len()
        );
    }
    let other = put_with(&ticket, &[("content-type", "text/html")], b"0123456789").await;
    assert!(other.status >= 400);
    let mut changed = ticket.clone();
    let url = ticket["upload_url"].as_str().expect("an address");
    for (from, to) in [("/original", "/thumbnail"), ("Signature=", "Signature=0")] {
        assert!(url.contains(from));
        changed["upload_url"] = url.replace(from, to).into();
        assert!(put(&changed, b"0123456789").await.status >= 400, "{to}");
    }
    ann.send_medium(&id, "image", media_id)
        .await
        .invalid_field("media_id");
    let unknown = ann.send_medium(&id, "image", &uuid()).await;
    unknown.invalid_field("media_id");
    assert_eq!(ann.head_seq(&id).await, 0, "nothing was sent");
    assert_eq!(put(&ticket, b"0123456789").await.status, 200);
    assert!(
        put(&ticket, b"9876543210").await.status >= 400,
        "it is there already"
    );
    ann.send_medium(&id, "video", media_id)
        .await
        .invalid_field("media_id");
    ann.send_medium(&id, "image", media_id).await.ok(201);
}

#[tokio::test]
async fn a_medium_is_sent_by_its_uploader_or_by_forwarding() {
    let (ann, bob, eve, id) = people().await;
    let media_id = ann.upload("image/webp", &noise(100)).await;
    let with_eve = bob.direct(&eve).await;
    let stolen = bob.send_medium(&with_eve, "image", &media_id).await;
    stolen.invalid_field("media_id");
    let ack = ann.send_medium(&id, "image", &media_id).await.ok(201);
    bob.send_medium(&with_eve, "image", &media_id)
        .await
        .invalid_field("media_id");
    let message = ack["message_id"].as_str().expect("an id");
    let path = format!("/conversations/{id}/messages/{message}/forward");
    let body = json!({"conversation_ids": [with_eve], "client_msg_id": uuid()});
    eve.api
        .get(&format!("/media/{media_id}"))
        .await
        .problem(404, "not_found");
    let forwarded = bob.api.post(&path, body.clone()).await.ok(200);
    assert!(
        forwarded["results"][0]["ack"]["seq"].is_number(),
        "{forwarded}"
    );
    let again = bob.api.post(&path, body).await.ok(200);
    assert_eq!(again["results"][0]["ack"]["duplicate"], true);
    assert_eq!(eve.download(&media_id).await.bytes, noise(100));
    assert_eq!(eve.events(&with_eve, 0).await[0]["media"]["kind"], "image");
}

#[tokio::test]
async fn a_repeated_message_is_recognised_though_its_medium_is_gone() {
    let (ann, bob, _, id) = people().await;
    let media_id = ann.upload("image/png", &noise(50)).await;
    let body = json!({"client_msg_id": uuid(), "content": "look", "content_type": "image", "media_id": media_id});
    let path = format!("/conversations/{id}/messages");
    let first = ann.api.post(&path, body.clone()).await.ok(201);
    let one = format!("/media/{media_id}");
    assert_eq!(ann.api.ask("DELETE", &one, Value::Null).await.status, 204);
    let again = ann.api.post(&path, body).await.ok(200);
    assert_eq!(
        (&again["seq"], &again["duplicate"]),
        (&first["seq"], &json!(true))
    );
    bob.api.get(&one).await.problem(404, "not_found");
    eventually("the bytes to go", async || {
        (!ENDPOINT.has(&media_id)).then_some(())
    })
    .await;
    ann.send_medium(&id, "image", &media_id)
        .await
        .invalid_field("media_id");
}

#[tokio::test]
async fn a_digest_is_checked() {
    let (ann, _, _, id) = people().await;
    // Of "0123456789".
    let sha256 = "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882";
    let body = json!({"content_type": "text/plain", "size": 10, "sha256": sha256, "file_name": "n\u{fc}.txt"});
    let wrong = ann.begin_upload(body.clone()).await;
    assert!(put(&wrong, b"9876543210").await.status >= 400);
    // This endpoint has written it down all the same, but for the digest.
    let media_id = wrong["media_id"].as_str().expect("an id");
    let refused = ann.send_medium(&id, "file", media_id).await;
    assert!(matches!(refused.status, 400 | 409), "{}", refused.text);
    let ticket = ann.begin_upload(body).await;
    assert_eq!(put(&ticket, b"0123456789").await.status, 200);
    let media_id = ticket["media_id"].as_str().expect("an id");
    ann.send_medium(&id, "file", media_id).await.ok(201);
    let fetched = ann.download(media_id).await;
    assert_eq!(fetched.header("content-type"), "application/octet-stream");
    assert_eq!(
        fetched.header("content-disposition"),
        "attachment; filename*=UTF-8''n%C3%BC.txt"
    );
}

#[tokio::test]
async fn a_large_film_is_uploaded_in_parts_with_a_poster() {
    let (ann, bob, _, id) = people().await;
    let bytes = noise(8 * 1024 * 1024 + 1000);
    let body = json!({
        "content_type": "video/mp4",
        "size": bytes.len(),
        "multipart": true,
        "duration_ms": 61_500,
        "thumbnail": {"content_type": "image/jpeg", "size": 5},
    });
    let begun = ann.begin_upload(body).await;
    let media_id = begun["media_id"].as_str().expect("an id");
    assert_eq!(
        begun["parts"],
        json!({"count": 2, "part_size": 8 * 1024 * 1024})
    );
    assert_eq!(put(&begun["thumbnail"], b"jpeg!").await.status, 200);
    let path = format!("/media/{media_id}/parts");
    bob.api
        .post(&path, json!({"part_numbers": [1]}))
        .await
        .problem(404, "not_found");
    ann.api
        .post(&path, json!({"part_numbers": [3]}))
        .await
        .invalid_field("part_numbers");
    let signed = ann
        .api
        .post(&path, json!({"part_numbers": [2, 1]}))
        .await
        .ok(200);
    let mut parts = Vec::new();
    for ticket in signed["parts"].as_array().expect("a list") {
        let number = ticket["part_number"].as_u64().expect("a number");
        let cut = 8 * 1024 * 1024;
        let part = if number == 1 {
            &bytes[..cut]
        } else {
            &bytes[cut..]
        };
        let done = put(ticket, part).await;
        assert_eq!(done.status, 200);
        parts.push(json!({"part_number": number, "etag": done.header("etag")}));
    }
    let complete = format!("/media/{media_id}/complete");
    let wrong = ann.api.post(&complete, json!({"parts": parts})).await;
    wrong.invalid_field("parts");
    parts.reverse();
    ann.send_medium(&id, "video", media_id)
        .await
        .invalid_field("media_id");
    let view = ann
        .api
        .post(&complete, json!({"parts": parts}))
        .await
        .ok(200);
    assert_eq!(
        (&view["uploaded"], &view["duration_ms"]),
        (&json!(true), &json!(61_500))
    );
    ann.send_medium(&id, "video", media_id).await.ok(201);
    assert!(
        bob.download(media_id).await.bytes == bytes,
        "the film is whole"
    );
    let poster = bob
        .address_of(&format!("/media/{media_id}/thumbnail"))
        .await;
    assert_eq!(fetch("GET", &poster, &[], None).await.bytes, b"jpeg!");
    let message = &bob.events(&id, 0).await[0];
    assert_eq!(message["media"]["duration_ms"], 61_500);
}

#[tokio::test]
async fn a_voice_note_carries_its_duration_and_waveform() {
    let (ann, bob, _, id) = people().await;
    let body = json!({"content_type": "audio/ogg", "size": 4, "duration_ms": 1200, "waveform": [0, 50, 100]});
    let ticket = ann.begin_upload(body).await;
    assert_eq!(put(&ticket, b"OggS").await.status, 200);
    let media_id = ticket["media_id"].as_str().expect("an id");
    ann.send_medium(&id, "voice", media_id).await.ok(201);
    let media = &bob.events(&id, 0).await[0]["media"];
    assert_eq!(media["duration_ms"], 1200);
    assert_eq!(media["waveform"], json!([0, 50, 100]));
}

#[tokio::test]
async fn an_upload_that_is_sent_nowhere_goes_and_one_that_was_sent_stays() {
    let vars = [&ENDPOINT.vars()[..], &[("MEDIA_UNUSED_SECONDS", "10")]].concat();
    let server = Server::start_with(&vars);
    let [ann, bob] = User::sign_up_all(&server).await;
    let id = ann.direct(&bob).await;
    let sent = ann.upload("image/png", &noise(10)).await;
    ann.send_medium(&id, "image", &sent).await.ok(201);
    let unused = ann.upload("image/png", &noise(10)).await;
    assert!(ENDPOINT.has(&unused));
    eventually("the unused upload to go", async || {
        (!ENDPOINT.has(&unused)).then_some(())
    })
    .await;
    ann.api
        .get(&format!("/media/{unused}"))
        .await
        .problem(404, "not_found");
    ann.send_medium(&id, "image", &unused)
        .await
        .invalid_field("media_id");
    assert_eq!(bob.download(&sent).await.bytes, noise(10));
}

#[tokio::test]
async fn what_a_deleted_message_showed_is_its_uploader_s_alone() {
    let (ann, bob, _, id) = people().await;
    let media_id = ann.upload("image/png", &noise(10)).await;
    let ack = ann.send_medium(&id, "image", &media_id).await.ok(201);
    assert_eq!(bob.download(&media_id).await.status, 200);
    let path = format!(
        "/conversations/{id}/messages/{}",
        ack["message_id"].as_str().expect("an id")
    );
    ann.api.ask("DELETE", &path, Value::Null).await.ok(200);
    let one = format!("/media/{media_id}");
    eventually("the medium to be let go of", async || {
        (bob.api.get(&one).await.status == 404).then_some(())
    })
    .await;
    assert_eq!(ann.download(&media_id).await.status, 200);
    let log = bob.events(&id, 0).await;
    for field in ["media_id", "media_url", "media"] {
        assert_eq!(log[0][field], Value::Null, "{field}");
    }
}

#[tokio::test]
async fn what_cannot_be_uploaded_is_refused() {
    let (ann, bob, eve, _) = people().await;
    let with_bob = eve.direct(&bob).await;
    for (body, field) in [
        (json!({"content_type": "image/png", "size": 0}), "size"),
        (json!({"content_type": "image/png", "size": "10"}), "size"),
        (json!({"content_type": "png", "size": 10}), "content_type"),
        (
            json!({"content_type": "image/png\r\nx-evil: 1", "size": 10}),
            "content_type",
        ),
        (
            json!({"content_type": "image/png", "size": 10, "file_name": "../../x"}),
            "file_name",
        ),
        (
            json!({"content_type": "image/png", "size": 10, "sha256": "abc"}),
            "sha256",
        ),
        (
            json!({"content_type": "image/png", "size": 10, "kind": "voice"}),
            "kind",
        ),
    ] {
        ann.api
            .post("/media/upload", body)
            .await
            .invalid_field(field);
    }
    for (content_type, most) in [
        ("image/png", 16),
        ("video/mp4", 100),
        ("audio/ogg", 16),
        ("text/plain", 100),
    ] {
        let body = json!({"content_type": content_type, "size": most * 1024 * 1024 + 1});
        ann.api
            .post("/media/upload", body)
            .await
            .problem(413, "payload_too_large");
    }
    let body = json!({"content_type": "image/png", "size": 10, "conversation_id": with_bob});
    ann.api
        .post("/media/upload", body)
        .await
        .problem(404, "not_found");
    for path in ["/media/..%2f..%2fsecret", "/media/%00", "/media/upload"] {
        let refused = ann.api.get(path).await;
        assert!(
            matches!(refused.status, 400 | 404 | 405),
            "{path}: {}",
            refused.status
        );
    }
}

#[tokio::test]
async fn without_storage_it_is_said_that_there_are_no_media() {
    let user = User::sign_up(server::shared()).await;
    let body = json!({"content_type": "image/png", "size": 10});
    let reply = user.api.post("/media/upload", body).await;
    if Edition::current().has_bucket() {
        reply.ok(201);
    } else {
        reply.problem(503, "unavailable");
    }
}
