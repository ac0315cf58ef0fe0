"""Calls an ONVIF device by the WSDL of ONVIF and checks every answer against its schemas.

zeep, in strict mode, makes the requests and reads the answers; lxml validates each body against the XSD of its
service, down to the messages of events. Ends with one line of JSON that names the calls, or with the first answer
that is not as the schema wants it.
"""

import argparse
import datetime
import importlib.util
import json
import pathlib
import sys
import tempfile

import requests
import zeep
from lxml import etree
from zeep.transports import Transport
from zeep.wsse.username import UsernameToken

XS = "http://www.w3.org/2001/XMLSchema"
SOAP = "http://www.w3.org/2003/05/soap-envelope"
FOLDER = pathlib.Path(importlib.util.find_spec("onvif").submodule_search_locations[0]) / "wsdl"
SERVICES = {
    "device": ("devicemgmt.wsdl", "{http://www.onvif.org/ver10/device/wsdl}DeviceBinding"),
    "media": ("media.wsdl", "{http://www.onvif.org/ver10/media/wsdl}MediaBinding"),
    "events": ("events.wsdl", "{http://www.onvif.org/ver10/events/wsdl}EventBinding"),
    "pullpoint": ("events.wsdl", "{http://www.onvif.org/ver10/events/wsdl}PullPointSubscriptionBinding"),
    "subscription": ("events.wsdl", "{http://www.onvif.org/ver10/events/wsdl}SubscriptionManagerBinding"),
    "recording": ("recording.wsdl", "{http://www.onvif.org/ver10/recording/wsdl}RecordingBinding"),
    "search": ("search.wsdl", "{http://www.onvif.org/ver10/search/wsdl}SearchBinding"),
    "replay": ("replay.wsdl", "{http://www.onvif.org/ver10/replay/wsdl}ReplayBinding"),
}
NAMESPACES = {
    f"http://www.onvif.org/ver10/{name}/wsdl": name
    for name in ("device", "media", "events", "recording", "search", "replay")
}


def schema_of(wsdl):
    """The schema inside a WSDL, with what it imports, as lxml wants it."""
    inner = etree.parse(str(FOLDER / wsdl)).getroot().find(f".//{{{XS}}}schema")
    for imported in inner.iter(f"{{{XS}}}import"):
        imported.set("schemaLocation", (FOLDER / imported.get("schemaLocation")).as_uri())
    with tempfile.NamedTemporaryFile(suffix=".xsd") as file:
        file.write(etree.tostring(inner))
        file.flush()
        return etree.XMLSchema(etree.parse(file.name))


class Checker(zeep.Plugin):
    """Validates the bodies of answers as they come."""

    def __init__(self):
        self.schemas = {}
        self.calls = []

    def ingress(self, envelope, http_headers, operation):
        body = envelope.find(f"{{{SOAP}}}Body")
        assert body is not None, "an answer without a SOAP body"
        answer = body[0]
        name = etree.QName(answer)
        if name.localname == "Fault":
            return envelope, http_headers
        # The answers of WS-BaseNotification are declared beside the event service.
        service = NAMESPACES.get(name.namespace, "events")
        if service not in self.schemas:
            self.schemas[service] = schema_of(SERVICES[service][0])
        schema = self.schemas[service]
        alone = etree.fromstring(etree.tostring(answer))
        if not schema.validate(alone):
            text = etree.tostring(alone, pretty_print=True).decode()
            sys.exit(f"{name.localname} is not as its schema wants it: {schema.error_log}\n{text}")
        self.calls.append(name.localname)
        return envelope, http_headers


class Device:
    """The services of a device by the addresses that it tells."""

    def __init__(self, url, user, password):
        self.checker = Checker()
        self.login = (user, password)
        self.clients = {}
        self.device = self.service("device", url)
        services = self.device.GetServices(IncludeCapability=True)
        self.addresses = {
            NAMESPACES[service.Namespace]: service.XAddr
            for service in services
            if service.Namespace in NAMESPACES
        }

    def service(self, name, address=None):
        """A service, at the address that the device told unless another is given."""
        wsdl, binding = SERVICES[name]
        if wsdl not in self.clients:
            settings = zeep.Settings(strict=True, xml_huge_tree=False)
            transport = Transport(session=requests.Session(), timeout=20, operation_timeout=20)
            self.clients[wsdl] = zeep.Client(
                str(FOLDER / wsdl),
                wsse=UsernameToken(*self.login, use_digest=True),
                transport=transport,
                settings=settings,
                plugins=[self.checker],
            )
        return self.clients[wsdl].create_service(binding, address or self.addresses[name])


def check_device(device):
    """The device service."""
    service = device.device
    assert service.GetSystemDateAndTime().UTCDateTime.Date.Year > 2000
    assert service.GetDeviceInformation().Manufacturer
    service.GetServices(IncludeCapability=False)
    service.GetServiceCapabilities()
    assert service.GetCapabilities(Category="All").Media.XAddr
    assert any("Profile/G" in scope.ScopeItem for scope in service.GetScopes())
    service.GetHostname()
    service.GetNetworkInterfaces()
    service.GetUsers()
    service.GetEndpointReference()
    service.GetWsdlUrl()
    try:
        service.GetDynamicDNS()
    except zeep.exceptions.Fault as fault:
        assert any("ActionNotSupported" in str(code) for code in fault.subcodes), fault.subcodes
    else:
        sys.exit("a call that is not there was answered")


def check_media(device):
    """The media service; returns the address of the first stream."""
    service = device.service("media")
    service.GetServiceCapabilities()
    profiles = service.GetProfiles()
    service.GetProfile(ProfileToken=profiles[0].token)
    assert service.GetVideoSources()
    assert service.GetVideoSourceConfigurations()
    assert service.GetVideoEncoderConfigurations()
    service.GetAudioEncoderConfigurations()
    setup = {"Stream": "RTP-Unicast", "Transport": {"Protocol": "RTSP"}}
    uri = service.GetStreamUri(StreamSetup=setup, ProfileToken=profiles[0].token).Uri
    if service.GetServiceCapabilities().SnapshotUri:
        service.GetSnapshotUri(ProfileToken=profiles[0].token)
    return uri


def check_events(device):
    """The event service; returns how many messages came."""
    service = device.service("events")
    service.GetServiceCapabilities()
    service.GetEventProperties()
    reference = service.CreatePullPointSubscription(InitialTerminationTime="PT60S")
    address = reference.SubscriptionReference.Address._value_1
    point = device.service("pullpoint", address)
    point.SetSynchronizationPoint()
    second = datetime.timedelta(seconds=1)
    messages = point.PullMessages(Timeout=second, MessageLimit=100).NotificationMessage
    manager = device.service("subscription", address)
    manager.Renew(TerminationTime="PT30S")
    manager.Unsubscribe()
    return len(messages)


def results(service, fetch, token, list_name):
    """All results of a search, in pages of seven."""
    found = []
    while True:
        second = datetime.timedelta(seconds=2)
        page = getattr(service, fetch)(SearchToken=token, MaxResults=7, WaitTime=second)
        found.extend(getattr(page, list_name))
        assert len(getattr(page, list_name)) <= 7
        if page.SearchState == "Completed":
            return found


def check_recordings(device):
    """Recording, search and replay; returns what was found of the first recording."""
    recording = device.service("recording")
    search = device.service("search")
    replay = device.service("replay")
    for service in (recording, search, replay):
        service.GetServiceCapabilities()
    listed = recording.GetRecordings()
    token = listed[0].RecordingToken
    recording.GetRecordingConfiguration(RecordingToken=token)
    recording.GetRecordingOptions(RecordingToken=token)
    track = listed[0].Tracks.Track[0].TrackToken
    recording.GetTrackConfiguration(RecordingToken=token, TrackToken=track)

    summary = search.GetRecordingSummary()
    assert summary.NumberRecordings == len(listed)
    information = search.GetRecordingInformation(RecordingToken=token)
    search.GetMediaAttributes(RecordingTokens=[token], Time=information.EarliestRecording)
    keep = datetime.timedelta(seconds=30)
    session = search.FindRecordings(Scope={}, KeepAliveTime=keep)
    recordings = results(search, "GetRecordingSearchResults", session, "RecordingInformation")
    assert sorted(found.RecordingToken for found in recordings) == sorted(
        item.RecordingToken for item in listed
    )

    topics = zeep.xsd.AnyObject(
        zeep.xsd.Element(
            "{http://docs.oasis-open.org/wsn/b-2}TopicExpression",
            device.clients["search.wsdl"].get_type("{http://docs.oasis-open.org/wsn/b-2}TopicExpressionType"),
        ),
        {
            "_value_1": "tns1:RecordingHistory//.",
            "Dialect": "http://www.onvif.org/ver10/tev/topicExpression/ConcreteSet",
        },
    )
    session = search.FindEvents(
        StartPoint=summary.DataFrom,
        EndPoint=summary.DataUntil,
        Scope={"IncludedRecordings": [token]},
        SearchFilter={"_value_1": [topics]},
        IncludeStartState=True,
        KeepAliveTime=keep,
    )
    events = results(search, "GetEventSearchResults", session, "Result")
    assert all(event.RecordingToken == token for event in events)
    times = [event.Time for event in events]
    assert times == sorted(times), "events are not in order"
    session = search.FindEvents(
        StartPoint=summary.DataUntil,
        EndPoint=summary.DataFrom,
        Scope={},
        SearchFilter={},
        IncludeStartState=False,
        KeepAliveTime=keep,
    )
    search.GetSearchState(SearchToken=session)
    search.EndSearch(SearchToken=session)

    setup = {"Stream": "RTP-Unicast", "Transport": {"Protocol": "RTSP"}}
    uri = replay.GetReplayUri(StreamSetup=setup, RecordingToken=token)
    configuration = replay.GetReplayConfiguration()
    replay.SetReplayConfiguration(Configuration=configuration)
    return {"recordings": len(listed), "events": len(events), "replay": uri}


def main():
    """Checks the device of the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("user")
    parser.add_argument("password")
    arguments = parser.parse_args()
    device = Device(arguments.url, arguments.user, arguments.password)
    check_device(device)
    found = {"stream": check_media(device), "messages": check_events(device)}
    found |= check_recordings(device)
    found["calls"] = sorted(set(device.checker.calls))
    print(json.dumps(found))


if __name__ == "__main__":
    main()
