"""A replay client that is not ours: rtspsrc of GStreamer in its ONVIF mode, over TCP.

Run with the system's Python (/usr/bin/python3, packages python3-gi and gir1.2-gst-plugins-base-1.0). It plays from where the
server begins and seeks to --from as soon as the first frame came. When a frame of --to or later has come, it prints one JSON
line: for each frame before that the time of its mark in microseconds since 1970, the bits of the mark, the sequence number in
it, and what the element rtponvifparse made of them; and the numbers that virtual cameras put into their pictures.

What rtspsrc 1.22 cannot do, with any server:
- is-live=false crashes, also with gst-rtsp-server: it takes packets without a jitter buffer then, and its event handler
  follows a pointer that only the jitter buffer's path sets. So it is live here, and its jitter buffer, which is made for
  packets in real time, must not hold anything back: latency=0.
- Told where the footage ends, the jitter buffer guesses from the pace when that will be, and at full speed believes
  that it is over. So the seek is open, and the end is looked for here.
"""

import argparse
import json
import os
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtp", "1.0")
from gi.repository import GLib, Gst, GstRtp  # noqa: E402

# From 1900, where NTP begins and with it the clock of rtspsrc in ONVIF mode, to 1970.
SECONDS_1900_TO_1970 = 2_208_988_800
PROFILE = 0xABAC
SEEK_TRIES = 50
# The message in which virtual cameras number their frames.
STAMP = bytes.fromhex("6b771af30c5e4d92a841d72e9364bf08")


class Client:
    def __init__(self, options):
        self.options = options
        self.loop = GLib.MainLoop()
        self.frames = []
        self.numbers = []
        self.parsed = []
        self.pictures = 0
        self.error = None
        self.ended = False
        # What came before the seek is not what was asked for.
        self.counts = False
        self.seeks = True
        self.tries = 0
        self.pauses = options.pause_after
        self.lock = threading.Lock()
        self.build()

    def build(self):
        self.pipeline = Gst.Pipeline()
        self.source = Gst.ElementFactory.make("rtspsrc")
        for name, value in {
            "location": self.options.url,
            "protocols": "tcp",
            "onvif-mode": True,
            "onvif-rate-control": self.options.rate_control,
            "latency": 0,
            # Times are those of RTP: not slaved to when packets come.
            "buffer-mode": "none",
            "user-id": self.options.user,
            "user-pw": self.options.password,
        }.items():
            if value is not None:
                Gst.util_set_object_arg(self.source, name, str(value))
        self.parse = Gst.ElementFactory.make("rtponvifparse")
        depay = Gst.ElementFactory.make("rtph264depay")
        whole = Gst.ElementFactory.make("capsfilter")
        whole.set_property("caps", Gst.Caps.from_string("video/x-h264,stream-format=byte-stream,alignment=au"))
        sink = self.sink()
        for element in [self.source, self.parse, depay, whole, sink]:
            self.pipeline.add(element)
        # No tee: rtponvifparse wants its packets for itself.
        self.parse.link(depay)
        depay.link(whole)
        whole.link(sink)
        self.source.connect("pad-added", self.on_pad)
        sink.get_static_pad("sink").add_probe(Gst.PadProbeType.BUFFER, self.on_picture)
        self.parse.get_static_pad("src").add_probe(
            Gst.PadProbeType.BUFFER | Gst.PadProbeType.EVENT_DOWNSTREAM, self.on_parsed
        )
        bus = self.pipeline.get_bus()
        bus.add_signal_watch()
        bus.connect("message", self.on_message)

    @staticmethod
    def sink():
        sink = Gst.ElementFactory.make("fakesink")
        sink.set_property("sync", False)
        sink.set_property("async", False)
        return sink

    def on_pad(self, _source, pad):
        if "media=(string)video" not in pad.get_current_caps().to_string():
            sink = self.sink()
            self.pipeline.add(sink)
            sink.sync_state_with_parent()
            pad.link(sink.get_static_pad("sink"))
            return
        pad.add_probe(Gst.PadProbeType.BUFFER | Gst.PadProbeType.EVENT_FLUSH, self.on_packet)
        pad.link(self.parse.get_static_pad("sink"))

    def on_packet(self, _pad, info):
        if not info.type & Gst.PadProbeType.BUFFER:
            if info.get_event().type == Gst.EventType.FLUSH_STOP:
                with self.lock:
                    self.counts = not self.seeks
                    self.frames, self.numbers, self.parsed, self.pictures = [], [], [], 0
            return Gst.PadProbeReturn.OK
        mapped, packet = GstRtp.RTPBuffer.map(info.get_buffer(), Gst.MapFlags.READ)
        if not mapped:
            return self.fail("a packet is not RTP")
        if packet.get_extension():
            data, profile = packet.get_extension_data()
            data = data.get_data()
            if profile == PROFILE and len(data) >= 12:
                whole, part = int.from_bytes(data[:4], "big"), int.from_bytes(data[4:8], "big")
                micros = (whole - SECONDS_1900_TO_1970) * 1_000_000 + round(part * 1_000_000 / 2**32)
                with self.lock:
                    if self.counts and micros >= self.options.stop:
                        self.ended = True
                        GLib.idle_add(self.loop.quit)
                    if not self.ended:
                        self.frames.append({"micros": micros, "bits": data[8], "cseq": data[9]})
        packet.unmap()
        # The message that holds a number is smaller than a packet.
        data = info.get_buffer().extract_dup(0, info.get_buffer().get_size())
        at = data.find(STAMP)
        with self.lock:
            if at >= 0 and not self.ended:
                self.numbers.append(int.from_bytes(unescape(data[at + 16 : at + 40])[:8], "big"))
            if self.seeks:
                self.seeks = False
                GLib.idle_add(self.seek)
            if self.pauses is not None and self.counts and len(self.frames) >= self.pauses:
                self.pauses = None
                GLib.idle_add(self.pause)
        return Gst.PadProbeReturn.OK

    def seek(self):
        flags = Gst.SeekFlags.FLUSH
        if self.options.intra:
            flags |= Gst.SeekFlags.TRICKMODE_KEY_UNITS
        instant = lambda micros: micros * 1000 + SECONDS_1900_TO_1970 * Gst.SECOND  # noqa: E731
        done = self.pipeline.seek(
            1.0, Gst.Format.TIME, flags,
            Gst.SeekType.SET, instant(self.options.start), Gst.SeekType.NONE, -1,
        )
        # Before the first frame is through the pipeline there is nothing that could be sought in.
        self.tries += 1
        if not done and self.tries == SEEK_TRIES:
            self.fail("rtspsrc refused the seek")
        elif not done:
            GLib.timeout_add(100, self.seek)
        return False

    def pause(self):
        self.pipeline.set_state(Gst.State.PAUSED)
        GLib.timeout_add(300, lambda: self.pipeline.set_state(Gst.State.PLAYING) and False)
        return False

    def on_picture(self, _pad, _info):
        with self.lock:
            self.pictures += not self.ended
        return Gst.PadProbeReturn.OK

    def on_parsed(self, _pad, info):
        if info.type & Gst.PadProbeType.BUFFER:
            buffer = info.get_buffer()
            mapped, packet = GstRtp.RTPBuffer.map(buffer, Gst.MapFlags.READ)
            marked = mapped and packet.get_extension()
            if mapped:
                packet.unmap()
            if marked and not self.ended:
                flags = buffer.get_flags()
                with self.lock:
                    self.parsed.append({
                        "micros": round(buffer.pts / 1000) - SECONDS_1900_TO_1970 * 1_000_000,
                        "key": not flags & Gst.BufferFlags.DELTA_UNIT,
                        "discontinuity": bool(flags & Gst.BufferFlags.DISCONT),
                    })
        elif info.get_event().type == Gst.EventType.EOS:
            self.fail("the server says that its footage is over")
        return Gst.PadProbeReturn.OK

    def on_message(self, _bus, message):
        if message.type == Gst.MessageType.ERROR:
            self.fail(" ".join(map(str, message.parse_error())))

    def fail(self, error):
        self.error = self.error or error
        self.loop.quit()
        return Gst.PadProbeReturn.REMOVE

    def run(self):
        self.pipeline.set_state(Gst.State.PLAYING)
        GLib.timeout_add(round(self.options.seconds * 1000), self.loop.quit)
        self.loop.run()
        with self.lock:
            report = {
                "frames": self.frames, "parsed": self.parsed, "numbers": self.numbers,
                "pictures": self.pictures,
                "ended": self.ended, "error": self.error,
            }
            print(json.dumps(report), flush=True)
        # Taking the pipeline down while packets come hangs rtspsrc 1.22 now and then: its threads wait for each other.
        os._exit(1 if self.error else 0)


def unescape(data):
    """Without the bytes that keep start codes out of NAL units (H.264 clause 7.4.1)."""
    return data.replace(b"\0\0\3", b"\0\0")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--user")
    parser.add_argument("--password")
    parser.add_argument("--from", dest="start", type=int, metavar="MICROSECONDS", required=True)
    parser.add_argument("--to", dest="stop", type=int, metavar="MICROSECONDS", required=True)
    parser.add_argument("--intra", action="store_true", help="key frames only")
    parser.add_argument("--rate-control", action="store_true", help="the server sets the pace")
    parser.add_argument("--pause-after", type=int, metavar="FRAMES")
    parser.add_argument("--seconds", type=float, default=30, help="give up after so long")
    options = parser.parse_args()
    Gst.init(None)
    Client(options).run()


if __name__ == "__main__":
    main()
