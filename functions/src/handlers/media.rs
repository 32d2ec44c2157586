//! `/media`: uploads and downloads of media, by addresses that are signed here.
//!
//! No byte of a medium passes through here. What a medium is, and in which messages it was sent,
//! its object knows; whether the caller is a member of one of their conversations, these say.

use futures_util::stream::{self, StreamExt as _};
use http::StatusCode;
use http::header::{HeaderValue, LOCATION};
use parlance_shared::conversation::call::GetConversation;
use parlance_shared::ids::{ConversationId, MediaId};
use parlance_shared::limits;
use parlance_shared::media::call::{
    Complete, DeleteMedia, GetParts, LookUp, MediaRecord, Register,
};
use parlance_shared::media::errand::{ObjectKey, Which};
use parlance_shared::protocol::input::Fields;
use parlance_shared::protocol::media::{
    CompleteRequest, PartsRequest, UploadRequest, part_count, part_size,
};
use parlance_shared::protocol::problem::{Code, Problem};
use parlance_shared::time::Timestamp;
use parlance_storage::serving::Serving;
use parlance_storage::{PartUpload, Signed, Upload};
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Handled, WAVE};
use crate::answer;
use crate::authenticate::Caller;
use crate::backend::Backend;
use crate::config::MediaStorage;
use crate::exchange::Exchange;
use crate::limit;
use crate::local_media;

/// An address for bytes that a client is to upload.
#[derive(Serialize)]
struct UploadTicket {
    upload_url: String,
    method: &'static str,
    headers: Map<String, Value>,
    expires_at: Timestamp,
}

impl From<Signed> for UploadTicket {
    fn from(signed: Signed) -> Self {
        Self {
            upload_url: signed.url,
            method: "PUT",
            headers: signed
                .headers
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value.into()))
                .collect(),
            expires_at: signed.expires_at,
        }
    }
}

#[derive(Serialize)]
struct Begun {
    media_id: MediaId,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    ticket: Option<UploadTicket>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<PartsAhead>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thumbnail: Option<UploadTicket>,
}

/// How a medium is to be cut.
#[derive(Serialize)]
struct PartsAhead {
    count: u16,
    part_size: u64,
}

#[derive(Serialize)]
struct PartTicket {
    part_number: u16,
    #[serde(flatten)]
    ticket: UploadTicket,
}

#[derive(Serialize)]
struct PartTickets {
    parts: Vec<PartTicket>,
}

/// `POST /media/upload`
pub(crate) async fn upload<B: Backend>(exchange: &Exchange<'_, B>, caller: Caller) -> Handled {
    let upload: UploadRequest = exchange.body()?;
    upload.validate()?;
    let signer = Signer::of(exchange)?;
    limit::upload(exchange, caller).await?;
    if let Some(id) = upload.conversation_id {
        let actor = caller.user_id;
        let member = exchange.backend.conversation(id, GetConversation { actor });
        member.await?;
    }
    let media_id = MediaId::random(exchange.backend.entropy());
    let register = Register {
        media_id,
        owner_id: caller.user_id,
        upload: upload.clone(),
    };
    exchange.backend.media(media_id, register).await?;
    let ticket = (!upload.multipart).then(|| {
        signer.put(&Upload {
            key: ObjectKey::original(media_id),
            content_type: upload.content_type.clone(),
            size: upload.size,
            sha256: upload.sha256,
        })
    });
    let thumbnail = upload.thumbnail.map(|thumbnail| {
        signer.put(&Upload {
            key: ObjectKey::thumbnail(media_id),
            content_type: thumbnail.content_type,
            size: thumbnail.size,
            sha256: None,
        })
    });
    let begun = Begun {
        media_id,
        ticket,
        parts: upload.multipart.then(|| PartsAhead {
            count: part_count(upload.size),
            part_size: limits::MEDIA_PART_BYTES,
        }),
        thumbnail,
    };
    answer::json(StatusCode::CREATED, &begun)
}

/// `POST /media/{media_id}/parts`
pub(crate) async fn sign_parts<B: Backend>(exchange: &Exchange<'_, B>, caller: Caller) -> Handled {
    let media_id: MediaId = exchange.id("media_id")?;
    let PartsRequest { part_numbers } = exchange.body()?;
    let mut fields = Fields::new();
    fields.require(
        (1..=limits::LIST_ITEMS).contains(&part_numbers.len()),
        "part_numbers",
        format!("must have 1 to {} numbers", limits::LIST_ITEMS),
    );
    fields.finish()?;
    let signer = Signer::of(exchange)?;
    let actor = caller.user_id;
    let under_way = exchange.backend.media(media_id, GetParts { actor }).await?;
    let parts = part_numbers
        .into_iter()
        .map(|part_number| {
            let size = part_size(under_way.size, part_number).ok_or_else(|| {
                let most = part_count(under_way.size);
                Problem::invalid_field("part_numbers", format!("must lie from 1 to {most}"))
            })?;
            let ticket = signer.put_part(&PartUpload {
                key: ObjectKey::original(media_id),
                upload_id: &under_way.upload_id,
                part_number,
                size,
            });
            Ok(PartTicket {
                part_number,
                ticket,
            })
        })
        .collect::<Result<_, Problem>>()?;
    answer::json(StatusCode::OK, &PartTickets { parts })
}

/// `POST /media/{media_id}/complete`
pub(crate) async fn complete<B: Backend>(exchange: &Exchange<'_, B>, caller: Caller) -> Handled {
    let media_id: MediaId = exchange.id("media_id")?;
    let CompleteRequest { parts } = exchange.body()?;
    let actor = caller.user_id;
    let complete = Complete { actor, parts };
    let view = exchange.backend.media(media_id, complete).await?;
    answer::json(StatusCode::OK, &view)
}

/// `GET /media/{media_id}` and `GET /media/{media_id}/thumbnail`
pub(crate) async fn get<B: Backend>(
    exchange: &Exchange<'_, B>,
    caller: Caller,
    which: Which,
) -> Handled {
    let media_id: MediaId = exchange.id("media_id")?;
    let signer = Signer::of(exchange)?;
    let record = look_up(exchange, caller, media_id, Some(which)).await?;
    let details = &record.view.details;
    let (key, serving) = match which {
        Which::Original => (
            ObjectKey::original(media_id),
            Serving::of(&details.content_type, details.traits.file_name.as_deref()),
        ),
        Which::Thumbnail => (
            ObjectKey::thumbnail(media_id),
            Serving::of(&record.thumbnail_type, None),
        ),
    };
    let address = signer.get(key, &serving);
    let location = HeaderValue::from_str(&address.url).map_err(|_| Problem::internal())?;
    let mut response = answer::empty(StatusCode::FOUND);
    response.headers_mut().insert(LOCATION, location);
    Ok(response)
}

/// `GET /media/{media_id}/info`
pub(crate) async fn info<B: Backend>(exchange: &Exchange<'_, B>, caller: Caller) -> Handled {
    let media_id: MediaId = exchange.id("media_id")?;
    let record = look_up(exchange, caller, media_id, None).await?;
    answer::json(StatusCode::OK, &record.view)
}

/// `DELETE /media/{media_id}`
pub(crate) async fn delete<B: Backend>(exchange: &Exchange<'_, B>, caller: Caller) -> Handled {
    let media_id: MediaId = exchange.id("media_id")?;
    let actor = caller.user_id;
    exchange
        .backend
        .media(media_id, DeleteMedia { actor })
        .await?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

/// The medium, where the caller may have it: its uploader, or a member of a conversation in which
/// it was sent. Nobody else learns that there is one.
async fn look_up<B: Backend>(
    exchange: &Exchange<'_, B>,
    caller: Caller,
    media_id: MediaId,
    bytes: Option<Which>,
) -> Result<MediaRecord, Problem> {
    let query = exchange.query();
    let conversation_id: Option<ConversationId> = query
        .text("conversation_id")?
        .map(|text| {
            text.parse()
                .map_err(|error: parlance_shared::ids::InvalidId| {
                    Problem::invalid_field("conversation_id", error.to_string())
                })
        })
        .transpose()?;
    let actor = caller.user_id;
    let look_up = LookUp {
        actor,
        bytes,
        conversation_id,
    };
    let record = exchange.backend.media(media_id, look_up).await?;
    if record.owner_id == actor {
        return Ok(record);
    }
    let mut asked = stream::iter(record.conversation_ids.clone())
        .map(|id| exchange.backend.conversation(id, GetConversation { actor }))
        .buffer_unordered(WAVE);
    let mut outcome = Err(Problem::not_found("medium"));
    while let Some(answered) = asked.next().await {
        match answered {
            Ok(_) => {
                drop(asked);
                return Ok(record);
            }
            Err(problem) if problem.code == Code::NotFound => {}
            // One that did not answer might have said yes.
            Err(problem) => outcome = Err(problem),
        }
    }
    outcome
}

/// What signs addresses.
enum Signer<'a> {
    S3(&'a parlance_storage::s3::S3, Timestamp),
    Local(&'a parlance_storage::local::UrlKey, String, Timestamp),
}

impl<'a> Signer<'a> {
    /// # Errors
    /// `unavailable` where the deployment has no storage for media.
    fn of<B: Backend>(exchange: &Exchange<'a, B>) -> Result<Self, Problem> {
        let now = exchange.backend.now();
        match &exchange.config.media {
            MediaStorage::S3(s3) => Ok(Self::S3(s3, now)),
            MediaStorage::Local(key) if B::HAS_BUCKET => {
                let origin = local_media::origin(exchange.request);
                Ok(Self::Local(key, origin, now))
            }
            MediaStorage::Local(_) | MediaStorage::None => Err(Problem::unavailable(
                "This deployment has no storage for media: it needs an S3 endpoint.",
            )),
        }
    }

    fn put(&self, upload: &Upload) -> UploadTicket {
        match self {
            Self::S3(s3, now) => s3.put(upload, *now).into(),
            Self::Local(key, origin, now) => key.put(origin, upload, *now).into(),
        }
    }

    fn put_part(&self, part: &PartUpload<'_>) -> UploadTicket {
        match self {
            Self::S3(s3, now) => s3.put_part(part, *now).into(),
            Self::Local(key, origin, now) => key.put_part(origin, part, *now).into(),
        }
    }

    fn get(&self, key: ObjectKey, serving: &Serving) -> Signed {
        match self {
            Self::S3(s3, now) => s3.get(key, serving, *now),
            Self::Local(signing, origin, now) => signing.get(origin, key, serving, *now),
        }
    }
}
