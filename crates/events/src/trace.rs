//! Lines of `tracing` become events, so that there is one log.

use crate::event::{Event, Level};
use crate::sink::Events;
use std::fmt::{self, Write as _};
use tracing::field::{Field, Visit};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Sends all lines of `tracing` of at least this level into `events`, for the whole process. Does nothing when
/// somebody has done so before.
pub fn install(events: &Events, least: Level) {
    let most = match least {
        Level::Debug => tracing_subscriber::filter::LevelFilter::DEBUG,
        Level::Info => tracing_subscriber::filter::LevelFilter::INFO,
        Level::Warning => tracing_subscriber::filter::LevelFilter::WARN,
        Level::Error => tracing_subscriber::filter::LevelFilter::ERROR,
    };
    let layer = IntoEvents { events: events.clone() }.with_filter(most);
    let _ = tracing_subscriber::registry().with(layer).try_init();
}

struct IntoEvents {
    events: Events,
}

impl<S: tracing::Subscriber + for<'a> LookupSpan<'a>> Layer<S> for IntoEvents {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        let mut text = Text::default();
        event.record(&mut text);
        let level = match *event.metadata().level() {
            tracing::Level::ERROR => Level::Error,
            tracing::Level::WARN => Level::Warning,
            tracing::Level::INFO => Level::Info,
            _ => Level::Debug,
        };
        let target = event.metadata().target().split("::").next().unwrap_or_default();
        let target = target.strip_prefix("culver_").unwrap_or(target);
        self.events.emit(Event::message(level, target, text.message + &text.fields));
    }
}

#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.message, "{value:?}");
        } else {
            let _ = write!(self.fields, " {}={value:?}", field.name());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_tracing_is_a_message() {
        let (events, recorded) = Events::recorder();
        let subscriber = tracing_subscriber::registry().with(IntoEvents { events });
        tracing::subscriber::with_default(subscriber, || tracing::warn!(account = 7, "odd"));
        let told = recorded.take();
        assert_eq!(told, [Event::message(Level::Warning, "events", "odd account=7")]);
    }
}
