//! What is told: the standing for whoever looks, alarms and events.

use std::sync::Arc;

use keepwatch_model::{EventCode, MonoTime, Subject, TICKS_PER_SECOND, duration_from_ticks};
use keepwatch_recording::edge::Case;

use super::{Driver, LOST_TOLD};
use crate::standing::{Fill, LineStanding, Standing};

impl Driver {
    /// Tells what was lost, not record by record.
    pub(super) fn tell_lost(&mut self, now: MonoTime) {
        if self.lost_told.is_some_and(|told| now.since(told) < LOST_TOLD) {
            return;
        }
        for (key, line) in &mut self.lines {
            let lost = std::mem::take(&mut line.to_tell);
            let (Some(first), Some(last)) = (lost.spans().first(), lost.spans().last()) else { continue };
            self.lost_told = Some(now);
            let text = format!(
                "{} s of footage from {} to {} went before they were outside: local storage overwrote them or lost them; the recorder is told",
                lost.ticks() / TICKS_PER_SECOND,
                first.from,
                last.to
            );
            self.node.add_event(EventCode::EdgeFootageLost, Subject::Camera(key.0), text);
        }
    }

    pub(super) fn tell_case(&self, case: Case) {
        let text = match case {
            Case::Normal => "footage leaves for the external storage again".to_owned(),
            Case::ExternalAway => {
                let why = self.contact.trouble.as_deref().unwrap_or("it gives no answer");
                format!("the external storage takes nothing: {why}; local storage fills until it does")
            }
            Case::LocalReadOnly => "local storage takes no more footage: what it holds is sent".to_owned(),
            Case::LocalGone => "local storage is gone: footage is sent as it comes".to_owned(),
            Case::Second => "the second local storage takes the footage".to_owned(),
        };
        self.node.add_event(EventCode::EdgeCase, Subject::Node, format!("case {}: {text}", case.number()));
    }

    pub(super) fn show(&mut self) {
        let (now, wall) = (self.now(), self.node.clock().wall());
        let found = self.found();
        let changes = self.health.look(now, self.config.thresholds, &found);
        for (code, subject, text) in self.alarms.take(wall, &changes, &found, &self.health) {
            self.node.add_event(code, subject, text);
        }
        self.tell_lost(now);
        let lines = self.lines.iter().map(|(key, line)| LineStanding {
            key: *key,
            wanted: line.wanted,
            behind: self.machine.behind(now, key),
            backlog: duration_from_ticks(self.machine.backlog_ticks(key)),
            waiting_bytes: self.reckoned.bytes_of(key),
            bytes: line.bytes,
            records: line.records,
            lost: duration_from_ticks(line.lost_ticks),
            limit: self.limit_of(key.0),
            limit_is_set: self.limits.contains_key(&key.0),
            health: self.health.line(key),
        });
        let standing = Standing {
            case: self.machine.case(),
            takes: self.machine.external_takes(),
            storage: self.question.as_ref().map(|question| question.storage.clone()),
            contact: self.contact.clone(),
            storages: self.storages.conditions(),
            writes_to: self.machine.writes_to(),
            fill: Fill {
                bytes: found.waiting_bytes,
                room_bytes: found.room_bytes,
                thresholds: self.config.thresholds,
                warned: self.health.is_warned(),
                overflows_in: self.health.overflows_in(),
            },
            memory: (self.node.store().tail().bytes, self.config.memory_bytes),
            throttle_bits_per_second: found.throttle_bits_per_second,
            alarms: self.alarms.standing(&found, &self.health),
            lines: lines.collect(),
        };
        self.shown.send_replace(Arc::new(standing));
    }
}
