//! The camera records itself: every frame of its feed onto its card, for as long as it has one that takes it.

use bytes::Bytes;
use keepwatch_model::{StreamId, WallTime};
use tokio::time::sleep_until;
use tracing::debug;

use super::Card;
use super::writer::{CardSample, CardWriter, WriteError};
use crate::camera::{Camera, Selection, VIDEO_TRACK, wanted_variant};
use crate::documents::{self, Moves, document_from};
use crate::fault::Condition;
use crate::feed::{FeedFrame, Variant};

/// Records until the camera is gone. Whoever drops the future loses the open record, as whoever pulls a plug does.
pub(crate) async fn record(camera: &Camera, card: &Card) {
    let mut watch = camera.control.watch();
    let mut writer = CardWriter::new(card, camera.tracks(Variant::Main), camera.timeline.frame_ticks());
    loop {
        if !watch.borrow_and_update().card.takes_footage() {
            if watch.changed().await.is_err() {
                return;
            }
            continue;
        }
        let condition = at_the_eye(*watch.borrow());
        let outs = condition.card_outs;
        let variant = wanted_variant(StreamId::MAIN, condition);
        let mut tape = Tape {
            camera,
            selection: Selection::new(camera, StreamId::MAIN, condition, variant),
            sound: WallTime::MIN,
        };
        loop {
            tokio::select! {
                biased;
                changed = watch.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    if watch.borrow().card_outs != outs {
                        // What was open was whole when the card was taken out or found to be full.
                        give_up_on(&mut writer, |writer| writer.end_section());
                        break;
                    }
                }
                received = tape.selection.subscription.next() => {
                    let Some((frame, missed)) = received else { return };
                    if missed {
                        tape.selection.begin_anew();
                    }
                    sleep_until(camera.frame_due(frame.number)).await;
                    let condition = at_the_eye(*watch.borrow());
                    give_up_on(&mut writer, |writer| tape.write(writer, &frame, condition));
                }
            }
        }
    }
}

/// The condition without the faults of the network and of single connections: the card is behind the eye.
fn at_the_eye(condition: Condition) -> Condition {
    Condition { keyless: false, skips: 0, losses: 0, ..condition }
}

fn give_up_on(writer: &mut CardWriter<'_>, work: impl FnOnce(&mut CardWriter<'_>) -> Result<(), WriteError>) {
    if let Err(error) = work(writer) {
        debug!(%error, "a record is missing on the card");
        writer.give_up();
    }
}

/// What is recorded, in the order of time.
struct Tape<'c> {
    camera: &'c Camera,
    selection: Selection,
    /// The label of the next packet of sound, by the lab's clock; one long past before the first picture.
    sound: WallTime,
}

impl Tape<'_> {
    fn write(
        &mut self,
        writer: &mut CardWriter<'_>,
        frame: &FeedFrame,
        condition: Condition,
    ) -> Result<(), WriteError> {
        let Some((unit, key)) = self.selection.choose(frame, condition) else { return Ok(()) };
        let stamp = self.camera.stamp(frame.number, condition);
        let shown = self.camera.shown_at(frame.number);
        let (prefix, data) = (self.camera.prefix(self.selection.variant(), &stamp), unit.data.clone());
        writer.picture(&CardSample { track: VIDEO_TRACK, label: stamp.capture, key, prefix, data })?;
        write_others(self.camera, writer, &mut self.sound, shown, condition)
    }
}

/// Writes the documents of a picture's time, and the sound from `next`, or from the picture that is shown at `shown` when that is long past, up to the end of
/// that picture.
pub(super) fn write_others(
    camera: &Camera,
    writer: &mut CardWriter<'_>,
    next: &mut WallTime,
    shown: WallTime,
    condition: Condition,
) -> Result<(), WriteError> {
    let end = shown.plus(camera.timeline.frame_ticks());
    let document = document_from(shown);
    if camera.metadata && document < end {
        let (label, prefix) = (condition.camera_time(document), Bytes::new());
        let data = documents::document(camera.id, document, label, Moves::regular(document));
        writer.other(&CardSample { track: camera.document_track(), label, key: true, prefix, data })?;
    }
    let Some(sound) = &camera.sound else { return Ok(()) };
    if end.ticks_since(*next) > 2 * camera.timeline.frame_ticks().max(sound.packet_ticks()) {
        *next = sound.packet_from(shown);
    }
    while *next < end {
        let label = condition.camera_time(*next);
        let data = sound.packet(*next);
        *next = next.plus(sound.packet_ticks());
        let prefix = Bytes::new();
        writer.other(&CardSample { track: VIDEO_TRACK + 1, label, key: true, prefix, data })?;
    }
    Ok(())
}
