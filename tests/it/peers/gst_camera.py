"""A camera that is not ours: gst-rtsp-server, one stream of H.264, H.265 or JPEG, a fixed number of frames.

Run with the system's Python (/usr/bin/python3, packages python3-gi and gir1.2-gst-rtsp-server-1.0).
Prints one JSON line when it listens and one when the last frame was handed to the payloader, and
ends when standard input closes. Media is not shared and one PLAY is served: a client that came back
would be sent frames from the start again and nobody could say how many are right.
"""

import argparse
import json
import sys
import threading

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
gi.require_version("GstRtsp", "1.0")
from gi.repository import GLib, Gst, GstRtsp, GstRtspServer  # noqa: E402


def say(**fields):
    print(json.dumps(fields), flush=True)


def video(options):
    """Encoder and payloader; one key frame a second."""
    interval = -1 if options.in_band else 0
    if options.codec == "jpeg":
        return "jpegenc quality=70 ! rtpjpegpay name=pay0 pt=26"
    if options.codec == "h265":
        return (
            f"x265enc key-int-max={options.rate} bitrate=500 speed-preset=ultrafast tune=zerolatency "
            f"option-string=pools=1:log-level=none ! rtph265pay name=pay0 pt=96 config-interval={interval}"
        )
    # With B-frames, decoding order differs from presentation order.
    encoder = f"x264enc key-int-max={options.rate} bitrate=1000 speed-preset=veryfast threads=1 "
    if options.b_frames:
        # Without zerolatency the encoder delays frames; b-adapt off places them regularly.
        encoder += f"bframes={options.b_frames} b-adapt=false b-pyramid=false rc-lookahead=10"
    else:
        encoder += "bframes=0 tune=zerolatency"
    profile = "main" if options.b_frames else "constrained-baseline"
    return f"{encoder} ! video/x-h264,profile={profile} ! rtph264pay name=pay0 pt=96 config-interval={interval}"


def audio(options):
    """Sound as long as the video: G.711 in packets of 20 ms, AAC in frames of 64 ms."""
    if options.audio == "aac":
        frames = options.frames * 16000 // options.rate // 1024
        return (
            f"audiotestsrc is-live=true num-buffers={frames} samplesperbuffer=1024 wave=sine "
            "! audio/x-raw,rate=16000,channels=1 ! voaacenc ! aacparse ! rtpmp4gpay name=pay1 pt=97"
        )
    packets = options.frames * 50 // options.rate
    return (
        f"audiotestsrc is-live=true num-buffers={packets} samplesperbuffer=160 wave=sine "
        "! audio/x-raw,rate=8000,channels=1 ! mulawenc ! rtppcmupay name=pay1 pt=0"
    )


def pipeline(options):
    pictures = (
        f"videotestsrc is-live=true num-buffers={options.frames} pattern=ball "
        f"! video/x-raw,format=I420,width={options.width},height={options.height},"
        f"framerate={options.rate}/1 ! {video(options)}"
    )
    return f"( {pictures} {audio(options) if options.audio else ''} )"


def ask_for_login(server, factory, user, password):
    """Nobody reaches the stream without a digest login."""
    auth = GstRtspServer.RTSPAuth()
    auth.set_supported_methods(GstRtsp.RTSPAuthMethod.DIGEST)
    token = GstRtspServer.RTSPToken()
    token.set_string("media.factory.role", "viewer")
    auth.add_digest(user, password, token)
    server.set_auth(auth)
    permissions = GstRtspServer.RTSPPermissions()
    permissions.add_permission_for_role("viewer", "media.factory.access", True)
    permissions.add_permission_for_role("viewer", "media.factory.construct", True)
    factory.set_permissions(permissions)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--frames", type=int, default=500)
    parser.add_argument("--rate", type=int, default=25)
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=360)
    parser.add_argument("--b-frames", type=int, default=0)
    parser.add_argument("--codec", choices=["h264", "h265", "jpeg"], default="h264")
    parser.add_argument("--audio", choices=["g711", "aac"])
    parser.add_argument("--transport", choices=["tcp", "udp"], default="tcp", help="the only one that is offered")
    parser.add_argument("--login", metavar="USER:PASSWORD", help="what is asked for, by digest")
    parser.add_argument(
        "--in-band", action="store_true", help="parameter sets before each key frame, not only in the SDP"
    )
    options = parser.parse_args()

    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address(options.address)
    server.set_service(str(options.port))
    factory = GstRtspServer.RTSPMediaFactory()
    factory.set_launch(pipeline(options))
    factory.set_shared(False)
    lower = GstRtsp.RTSPLowerTrans
    factory.set_protocols(lower.UDP if options.transport == "udp" else lower.TCP)
    if options.login:
        ask_for_login(server, factory, *options.login.split(":", 1))
    mounts = server.get_mount_points()
    mounts.add_factory("/camera", factory)

    def on_question(_pad, info):
        # A client's "Range: npt=0-" would make the server seek, which flushes frames that were counted. Live
        # cameras do not seek: let the question whether this one does go unanswered.
        seeking = info.get_query().type == Gst.QueryType.SEEKING
        return Gst.PadProbeReturn.DROP if seeking else Gst.PadProbeReturn.OK

    def on_media(_factory, media):
        frames = 0

        def on_data(_pad, info):
            nonlocal frames
            if info.type & Gst.PadProbeType.BUFFER:
                frames += 1
            elif info.get_event().type == Gst.EventType.EOS:
                say(ended=True, frames=frames)
            return Gst.PadProbeReturn.OK

        for name in ["pay0", "pay1"] if options.audio else ["pay0"]:
            pad = media.get_element().get_by_name(name).get_static_pad("sink")
            pad.add_probe(Gst.PadProbeType.QUERY_UPSTREAM, on_question)
            if name == "pay0":
                pad.add_probe(Gst.PadProbeType.BUFFER | Gst.PadProbeType.EVENT_DOWNSTREAM, on_data)

    def on_play(_client, _context):
        mounts.remove_factory("/camera")

    factory.connect("media-configure", on_media)
    server.connect("client-connected", lambda _server, client: client.connect("play-request", on_play))
    # attach() returns 0 when the port is taken, and a test would then record a stranger's stream.
    if server.attach(None) == 0:
        say(error=f"cannot listen on {options.address} port {options.port}")
        return 1
    say(url=f"rtsp://{'[%s]' % options.address if ':' in options.address else options.address}"
            f":{server.get_bound_port()}/camera")

    loop = GLib.MainLoop()

    def end_with_parent():
        sys.stdin.buffer.read()
        loop.quit()

    threading.Thread(target=end_with_parent, daemon=True).start()
    loop.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
