//! Media over HTTP: what is signed for whom, which object is asked what, and what is refused
//! before that.

use parlance_shared::protocol::problem::Problem;
use serde_json::{Value, json};

use crate::support::{Fake, ID, ME, Made, PEER};

const S3: [(&str, &str); 4] = [
    ("S3_ENDPOINT", "https://account.r2.example.com"),
    ("S3_BUCKET", "bucket"),
    ("S3_ACCESS_KEY_ID", "an-access-key"),
    ("S3_SECRET_ACCESS_KEY", "an-s3-secret"),
];

fn record(owner: &str, conversations: &[&str]) -> Value {
    json!({
        "owner_id": owner,
        "view": {
            "media_id": ID,
            "kind": "file",
            "content_type": "text/html",
            "size": 10,
            "file_name": "page.html",
            "uploaded": true,
            "thumbnail": "ready",
            "created_at": "2025-11-24T16:00:00.000Z",
        },
        "thumbnail_type": "image/jpeg",
        "conversation_ids": conversations,
    })
}

fn view() -> Value {
    json!({"id": ID, "type": "direct", "encrypted": false, "member_count": 2, "role": "member",
        "head_seq": 1, "created_by": ME, "created_at": "2025-11-24T16:00:00.000Z"})
}

/// Of a medium of someone else's, which was sent in these conversations; the caller is a member
/// of those in `mine`.
fn foreign(conversations: &'static [&'static str], mine: &'static [&'static str]) -> Fake {
    Fake::new(move |made: &Made| match made.class {
        "MEDIUM" => Ok(record(PEER, conversations)),
        "CONVERSATION" if mine.contains(&made.name.as_str()) => Ok(view()),
        "CONVERSATION" => Err(Problem::not_found("conversation")),
        _ => panic!("unexpected: {made:?}"),
    })
}

fn photo() -> Value {
    json!({"content_type": "image/jpeg", "size": 1000})
}

#[tokio::test(flavor = "current_thread")]
async fn an_upload_is_registered_and_answered_with_a_signed_address() {
    for settings in [&S3[..], &[]] {
        let fake = Fake::new(|_| Ok(Value::Null)).with(settings);
        let answer = fake
            .ask("POST", "/api/v1/media/upload", Some(photo()))
            .await;
        assert_eq!(answer.status, 201);
        let body = answer.json();
        assert_eq!(body["method"], "PUT");
        assert_eq!(body["headers"]["content-type"], "image/jpeg");
        assert_eq!(body["headers"]["content-length"], "1000");
        assert_eq!(body["expires_at"], "2025-11-24T16:15:00.000Z");
        let url = body["upload_url"].as_str().unwrap();
        let begin = if settings.is_empty() {
            "https://chat.example/local-media/"
        } else {
            "https://account.r2.example.com/bucket/media/"
        };
        assert!(url.starts_with(begin), "{url}");
        assert!(url.contains(body["media_id"].as_str().unwrap()));
        let made = fake.made.borrow();
        let register = made.iter().find(|made| made.class == "MEDIUM").unwrap();
        assert_eq!(register.name, body["media_id"]);
        assert_eq!(register.fields()["owner_id"], ME);
        assert_eq!(register.fields()["upload"]["size"], 1000);
        assert!(!fake.log().contains("ignature"));
    }
}

#[tokio::test(flavor = "current_thread")]
async fn an_upload_for_a_conversation_is_for_its_members() {
    let upload = || {
        let mut body = photo();
        body["conversation_id"] = PEER.into();
        Some(body)
    };
    let path = "/api/v1/media/upload";
    let fake = Fake::new(|made| match made.class {
        "CONVERSATION" => Err(Problem::not_found("conversation")),
        _ => Ok(Value::Null),
    });
    fake.ask("POST", path, upload())
        .await
        .problem(404, "not_found");
    assert!(!fake.calls().contains(&"MEDIUM register".to_owned()));
    let fake = Fake::new(|made| match made.class {
        "CONVERSATION" => Ok(view()),
        _ => Ok(Value::Null),
    });
    assert_eq!(fake.ask("POST", path, upload()).await.status, 201);
}

#[tokio::test(flavor = "current_thread")]
async fn what_cannot_be_uploaded_asks_no_object() {
    let fake = Fake::idle();
    for (change, field) in [
        (json!({"size": 0}), "size"),
        (
            json!({"content_type": "image/jpeg\r\nx-amz-acl: public-read"}),
            "content_type",
        ),
        (json!({"content_type": "../../etc"}), "content_type"),
        (json!({"sha256": "zz"}), "sha256"),
        (json!({"file_name": "../x"}), "file_name"),
        (json!({"duration_ms": "long"}), "duration_ms"),
    ] {
        let mut body = photo();
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        let answer = fake.ask("POST", "/api/v1/media/upload", Some(body)).await;
        assert_eq!(answer.problem(400, "invalid_request"), [field]);
    }
    let mut huge = photo();
    huge["size"] = (16 * 1024 * 1024 + 1).into();
    let answer = fake.ask("POST", "/api/v1/media/upload", Some(huge)).await;
    answer.problem(413, "payload_too_large");
}

#[tokio::test(flavor = "current_thread")]
async fn without_storage_there_are_no_media() {
    let fake = Fake::idle().with(&[
        ("DEVELOPMENT", ""),
        ("CODE_PROVIDER", "twilio"),
        ("TWILIO_ACCOUNT_SID", "AC00"),
        ("TWILIO_AUTH_TOKEN", "secret-token"),
        ("TWILIO_FROM", "+14155550199"),
    ]);
    let answer = fake
        .ask("POST", "/api/v1/media/upload", Some(photo()))
        .await;
    answer.problem(503, "unavailable");
    let answer = fake.ask("GET", &format!("/api/v1/media/{ID}"), None).await;
    answer.problem(503, "unavailable");
}

#[tokio::test(flavor = "current_thread")]
async fn uploads_are_counted_by_device() {
    let fake = Fake::new(|made| match made.class {
        "LIMITER" => Err(Problem::rate_limited(
            "Too many.",
            std::time::Duration::from_secs(1),
        )),
        _ => panic!("unexpected: {made:?}"),
    });
    let answer = fake
        .ask("POST", "/api/v1/media/upload", Some(photo()))
        .await;
    answer.problem(429, "rate_limited");
    assert!(fake.made.borrow()[0].name.starts_with("uploads:device:"));
    assert!(
        fake.counted.borrow().is_empty(),
        "they are not counted twice"
    );
}

#[tokio::test(flavor = "current_thread")]
async fn its_uploader_and_members_are_sent_on_to_the_bytes() {
    let own = || Fake::new(|_| Ok(record(ME, &[])));
    let member = || foreign(&[ID, PEER], &[PEER]);
    for fake in [own(), member(), own().with(&S3), member().with(&S3)] {
        for (path, kind) in [("", "attachment"), ("/thumbnail", "inline")] {
            let path = format!("/api/v1/media/{ID}{path}");
            let answer = fake.ask("GET", &path, None).await;
            assert_eq!(answer.status, 302);
            assert_eq!(answer.header("cache-control"), "no-store");
            let location = answer.header("location");
            assert!(location.contains(ID), "{location}");
            assert!(location.contains(kind), "{location}");
            assert!(!location.contains("text%2Fhtml"), "{location}");
            assert!(!fake.log().contains("ignature"));
        }
        let info = fake
            .ask("GET", &format!("/api/v1/media/{ID}/info"), None)
            .await;
        assert_eq!(info.json()["file_name"], "page.html");
        assert!(info.json().get("owner_id").is_none());
    }
}

#[tokio::test(flavor = "current_thread")]
async fn nobody_else_learns_that_there_is_one() {
    for fake in [foreign(&[], &[]), foreign(&[ID, PEER], &[])] {
        for path in ["", "/thumbnail", "/info"] {
            let answer = fake
                .ask("GET", &format!("/api/v1/media/{ID}{path}"), None)
                .await;
            answer.problem(404, "not_found");
        }
    }
    let fake = Fake::new(|made| match made.class {
        "MEDIUM" => Ok(record(PEER, &[ID])),
        _ => Err(Problem::unavailable("It did not answer.")),
    });
    let answer = fake.ask("GET", &format!("/api/v1/media/{ID}"), None).await;
    answer.problem(503, "unavailable");
}

#[tokio::test(flavor = "current_thread")]
async fn a_hint_is_handed_on() {
    let fake = foreign(&[PEER], &[PEER]);
    let path = format!("/api/v1/media/{ID}?conversation_id={PEER}");
    assert_eq!(fake.ask("GET", &path, None).await.status, 302);
    assert_eq!(fake.made.borrow()[0].fields()["conversation_id"], PEER);
    let path = format!("/api/v1/media/{ID}?conversation_id=nonsense");
    let fields = fake
        .ask("GET", &path, None)
        .await
        .problem(400, "invalid_request");
    assert_eq!(fields, ["conversation_id"]);
}

#[tokio::test(flavor = "current_thread")]
async fn parts_are_signed_one_by_one() {
    const PART: u64 = 8 * 1024 * 1024;
    for settings in [&S3[..], &[]] {
        let fake = Fake::new(|made| match made.call() {
            "register" => Ok(Value::Null),
            "get_parts" => Ok(json!({"upload_id": "up&load", "size": PART + 5})),
            _ => panic!("unexpected: {made:?}"),
        })
        .with(&[settings, &[("RATE_LIMIT_SCALE", "0")]].concat());
        let body = json!({"content_type": "video/mp4", "size": PART + 5, "multipart": true});
        let begun = fake
            .ask("POST", "/api/v1/media/upload", Some(body))
            .await
            .json();
        assert_eq!(begun["parts"], json!({"count": 2, "part_size": PART}));
        assert!(begun.get("upload_url").is_none());
        let path = format!("/api/v1/media/{ID}/parts");
        let body = json!({"part_numbers": [2, 1]});
        let parts = fake.ask("POST", &path, Some(body)).await.json();
        assert_eq!(parts["parts"][0]["part_number"], 2);
        assert_eq!(parts["parts"][0]["headers"]["content-length"], "5");
        assert!(
            parts["parts"][1]["upload_url"]
                .as_str()
                .unwrap()
                .contains("up%26load")
        );
        for wrong in [json!([]), json!([0]), json!([3]), json!([1.5])] {
            let body = json!({"part_numbers": wrong});
            fake.ask("POST", &path, Some(body))
                .await
                .problem(400, "invalid_request");
        }
    }
}
