//! The consumer of the queue of thumbnails.
//!
//! What always holds: a thumbnail is stored before its medium's object is told of it; a message
//! that was not carried out comes again, as often as the queue is set to.

use parlance_durable_objects::host::log_failure;
use parlance_durable_objects::media::ThumbnailOf;
use parlance_durable_objects::storage::Storage;
use parlance_durable_objects::stub;
use parlance_shared::ids::MediaId;
use parlance_shared::media::call::{GetThumbnailJob, MadeThumbnail, NoteThumbnail};
use parlance_shared::media::errand::ObjectKey;
use parlance_shared::protocol::media::MediaType;
use worker::{Env, MessageBatch, MessageExt as _};

/// Makes the thumbnails of a batch, one after the other: each takes much memory.
pub async fn make_all(batch: &MessageBatch<ThumbnailOf>, env: &Env) {
    let storage = Storage::of(env);
    for message in batch.iter() {
        match message {
            Ok(message) => match make(env, &storage, message.body().media_id).await {
                Ok(()) => message.ack(),
                Err(error) => {
                    log_failure("thumbnails", "not_made", &error);
                    message.retry();
                }
            },
            // Of another version: it comes again, and to an end.
            Err(error) => log_failure("thumbnails", "not_read", &error.to_string()),
        }
    }
}

async fn make(env: &Env, storage: &Storage, media_id: MediaId) -> Result<(), String> {
    let job = stub::call(env, &media_id, GetThumbnailJob {}).await;
    let Some(job) = job.map_err(told)? else {
        return Ok(());
    };
    let original = storage.read(ObjectKey::original(media_id)).await;
    let original = original.map_err(told)?.ok_or("its bytes are not there")?;
    let made = match parlance_thumbnails::make(&original, job.content_type.as_str()) {
        Ok(thumbnail) => {
            drop(original);
            let content_type: MediaType = thumbnail.content_type.parse().map_err(told)?;
            let key = ObjectKey::thumbnail(media_id);
            let written = storage
                .write(key, thumbnail.content_type, thumbnail.bytes)
                .await;
            written.map_err(told)?;
            Some(MadeThumbnail {
                content_type,
                width: thumbnail.width,
                height: thumbnail.height,
                blurhash: thumbnail.blurhash,
            })
        }
        // Trying again would come to the same.
        Err(_) => None,
    };
    stub::call(env, &media_id, NoteThumbnail { made })
        .await
        .map_err(told)
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}
