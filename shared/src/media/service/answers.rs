//! What is answered of a medium as it is, without a change.

use super::{Step, Upkeep};
use crate::ids::UserId;
use crate::limits;
use crate::media::call::{Complete, GetParts, PartsRecord, ThumbnailJob};
use crate::media::errand::{Errand, ObjectKey, Stored};
use crate::media::store::{Medium, State};
use crate::object::reply_json;
use crate::protocol::media::{MediaDetails, MediaType, MediaView, ThumbnailState, part_count};
use crate::protocol::problem::{Code, Problem, ServiceError};

pub(super) fn done(reply: &impl serde::Serialize, upkeep: Upkeep) -> Result<Step, ServiceError> {
    Ok(Step::Done(reply_json(reply)?, upkeep))
}

pub(super) const fn errand(errand: Errand) -> Step {
    Step::Errand {
        errand,
        alarm: None,
        noted: None,
    }
}

pub(super) const fn look(key: ObjectKey) -> Step {
    errand(Errand::Look { key })
}

pub(super) fn missing() -> ServiceError {
    Problem::not_found("medium").into()
}

/// A medium that is there.
pub(super) fn present(medium: Option<Medium>) -> Result<Medium, ServiceError> {
    medium
        .filter(|medium| medium.state != State::Leaving)
        .ok_or_else(missing)
}

/// One's own medium; others are not told that there is one.
pub(super) fn owned(medium: Option<Medium>, actor: UserId) -> Result<Medium, ServiceError> {
    medium
        .filter(|medium| medium.owner_id == actor)
        .ok_or_else(missing)
}

pub(super) fn get_parts(medium: Option<Medium>, call: GetParts) -> Result<Step, ServiceError> {
    let medium = owned(medium, call.actor)?;
    let Some(upload_id) = medium
        .upload_id
        .filter(|_| medium.state == State::Announced)
    else {
        let detail = "It has no upload in parts under way.";
        return Err(Problem::new(Code::Conflict, detail).into());
    };
    let record = PartsRecord {
        upload_id,
        size: medium.upload.size,
    };
    done(&record, Upkeep::default())
}

/// All parts, each once, in order.
pub(super) fn check_parts(medium: &Medium, call: &Complete) -> Result<(), Problem> {
    let count = part_count(medium.upload.size);
    let are_all = call.parts.iter().map(|part| part.part_number).eq(1..=count);
    if !are_all {
        let detail = format!("must name the parts from 1 to {count}, in order");
        return Err(Problem::invalid_field("parts", detail));
    }
    // It goes into XML, and into a call of the platform.
    let is_etag = |etag: &str| {
        (1..=limits::ETAG_BYTES).contains(&etag.len())
            && etag
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"\"-_+/=.".contains(&byte))
    };
    if !call.parts.iter().all(|part| is_etag(&part.etag)) {
        return Err(Problem::invalid_field(
            "parts",
            "must have the ETags of their uploads",
        ));
    }
    Ok(())
}

pub(super) fn get_thumbnail_job(medium: Option<Medium>) -> Result<Step, ServiceError> {
    let job = medium
        .filter(|medium| {
            medium.state == State::Uploaded && medium.thumbnail == ThumbnailState::Pending
        })
        .map(|medium| ThumbnailJob {
            content_type: medium.upload.content_type,
            size: medium.upload.size,
        });
    done(&job, Upkeep::default())
}

pub(super) fn has_type(found: &Stored, content_type: &MediaType) -> bool {
    found
        .content_type
        .as_ref()
        .is_some_and(|found| found.eq_ignore_ascii_case(content_type.as_str()))
}

pub(super) fn details(medium: &Medium) -> MediaDetails {
    let mut traits = medium.upload.traits();
    if let Some(made) = &medium.made {
        traits.width = Some(made.width);
        traits.height = Some(made.height);
        traits.blurhash = Some(made.blurhash.clone());
    }
    MediaDetails {
        kind: medium.upload.kind(),
        content_type: medium.upload.content_type.clone(),
        size: medium.upload.size,
        traits,
    }
}

pub(super) fn view(medium: Medium) -> MediaView {
    MediaView {
        media_id: medium.media_id,
        details: details(&medium),
        sha256: medium.upload.sha256,
        uploaded: medium.state == State::Uploaded,
        thumbnail: medium.thumbnail,
        created_at: medium.created_at,
    }
}

pub(super) fn thumbnail_type(medium: &Medium) -> MediaType {
    let made = medium.made.as_ref().map(|made| &made.content_type);
    let announced = medium
        .upload
        .thumbnail
        .as_ref()
        .map(|one| &one.content_type);
    made.or(announced)
        .unwrap_or(&medium.upload.content_type)
        .clone()
}
