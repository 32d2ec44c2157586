//! What hostile requests cannot do: write into the log or the answer, have the server ask others
//! for something, or have it unpack what they sent.

use std::collections::BTreeSet;

use http::{HeaderValue, Method};
use parlance_functions::router::{Endpoint, ROUTES, Route};
use serde_json::{Value, json};

use crate::support::{Fake, ID, request};

const ADMIN: &str = "an-admin-token-of-32-characters-or-more";

fn path(route: &Route, id: &str) -> String {
    let segments = route.path.split('/');
    segments
        .map(|part| if part.starts_with('{') { id } else { part })
        .collect::<Vec<_>>()
        .join("/")
}

fn token(fake: &Fake, route: &Route) -> String {
    match route.endpoint {
        Endpoint::Admin(_) => ADMIN.to_owned(),
        _ => fake.token(),
    }
}

#[tokio::test(flavor = "current_thread")]
async fn a_body_that_is_compressed_is_refused_and_not_unpacked() {
    let fake = Fake::idle().with(&[("ADMIN_TOKEN", ADMIN)]);
    let mut refused = 0;
    for route in &ROUTES {
        let mut plain = request(
            route.method.as_str(),
            &path(route, ID),
            Some(&token(&fake, route)),
            Some(json!({})),
        );
        let coded = |coding: &'static str| {
            let mut coded = plain.clone();
            let value = HeaderValue::from_static(coding);
            coded.headers_mut().insert("content-encoding", value);
            coded
        };
        for coding in ["gzip", "GZIP", "deflate, identity", "br", "x"] {
            let coded = coded(coding);
            // Only where a body is read at all.
            if matches!(route.method, Method::POST | Method::PATCH)
                && !route.path.ends_with("/logout")
            {
                let answer = fake.respond(coded).await;
                answer.problem(415, "unsupported_media_type");
                refused += 1;
            }
        }
        if route.path == "/api/v1/auth/code" {
            let value = HeaderValue::from_static(" Identity ");
            plain.headers_mut().insert("content-encoding", value);
            fake.respond(plain).await.problem(400, "invalid_request");
        }
    }
    assert!(refused > 50, "{refused}");
}

#[tokio::test(flavor = "current_thread")]
async fn nothing_that_a_client_sent_makes_a_line_of_the_log_or_stands_in_one() {
    let fake = Fake::idle().with(&[("ADMIN_TOKEN", ADMIN)]);
    let forged = "%0a%7b%22level%22%3a%22info%22%2c%22forged%22%3atrue%7d";
    let headers = [
        ("user-agent", "x\t{\"forged\":true}"),
        ("x-request-id", "a\t{\"forged\":true}"),
        ("origin", "https://forged.example"),
        ("referer", "https://forged.example/\"}"),
        ("cf-connecting-ip", "forged"),
    ];
    for route in &ROUTES {
        for (id, query) in [(forged, ""), (ID, "?limit=%0aforged&cursor=forged%00")] {
            let path = format!("{}{query}", path(route, id));
            let body = json!({"forged": "\n{\"forged\":true}", "phone_number": "forged"});
            let method = route.method.as_str();
            let mut hostile = request(method, &path, Some("forged.forged.forged"), Some(body));
            for (name, value) in headers {
                let value = HeaderValue::from_str(value).unwrap();
                hostile.headers_mut().insert(name, value);
            }
            let answer = fake.respond(hostile).await;
            assert!(answer.status < 500, "{method} {path}");
            for line in fake.lines.take() {
                assert!(!line.contains('\n'), "one line: {line:?}");
                let json: Value = serde_json::from_str(&line).unwrap();
                assert!(json.is_object());
                assert!(!line.contains("forged"), "{line}");
            }
            for (name, value) in &answer.headers {
                let value = value.to_str().unwrap();
                assert!(!value.contains("forged"), "{name}: {value}");
            }
        }
    }
}

#[tokio::test(flavor = "current_thread")]
async fn an_answer_has_only_headers_of_ours() {
    let fake = Fake::idle().with(&[("CORS_ORIGINS", "https://app.example")]);
    let mut names = BTreeSet::new();
    for route in &ROUTES {
        for method in [route.method.as_str(), "OPTIONS", "TRACE"] {
            let mut asked = request(method, &path(route, "%0d%0aset-cookie%3ax"), None, None);
            for origin in ["https://app.example", "https://app.example\tset-cookie: x"] {
                let value = HeaderValue::from_str(origin).unwrap();
                asked.headers_mut().insert("origin", value);
                let answer = fake.respond(asked.clone()).await;
                names.extend(answer.headers.keys().map(|name| name.as_str().to_owned()));
            }
        }
    }
    let ours = [
        "access-control-allow-origin",
        "access-control-expose-headers",
        "allow",
        "cache-control",
        "content-security-policy",
        "content-type",
        "referrer-policy",
        "vary",
        "www-authenticate",
        "x-content-type-options",
        "x-request-id",
    ];
    assert_eq!(names.iter().collect::<Vec<_>>(), ours);
}

#[tokio::test(flavor = "current_thread")]
async fn no_link_that_a_client_names_is_asked_for() {
    let links = [
        "https://169.254.169.254/latest/meta-data/",
        "https://localhost:8787/",
        "https://[::1]/",
        "http://127.0.0.1/",
        "file:///etc/passwd",
        "https://10.0.0.1@example.com/",
    ];
    let fake = Fake::new(|_| Err(parlance_shared::protocol::problem::Problem::internal()));
    for route in &ROUTES {
        // Whom a code is sent to is a number, and where from is the deployment's setting.
        if route.path == "/api/v1/auth/code" {
            continue;
        }
        for link in links {
            let body = json!({
                "profile_pic": link, "avatar": link, "content": link, "name": link, "reason": link,
                "description": link, "display_name": link, "status_message": link, "url": link,
                "webhook": link, "callback": link, "type": "group", "member_ids": [ID],
                "client_msg_id": ID, "note": link, "up_to_seq": 1, "role": "member",
            });
            let method = route.method.as_str();
            let asked = request(
                method,
                &path(route, ID),
                Some(&token(&fake, route)),
                Some(body),
            );
            fake.respond(asked).await;
        }
    }
    assert!(!fake.made.borrow().is_empty(), "objects were asked");
    assert!(fake.sent.borrow().is_empty(), "and nobody else");
}
