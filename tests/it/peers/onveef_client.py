"""Drives an ONVIF device with onveef, a client that is not ours and reads answers in its own way.

Finds the device by WS-Discovery if an address to probe is given, logs in, reads profiles, motion, recordings and
their sections, and the addresses of stream and replay. Ends with one line of JSON that says what it found.
"""

import argparse
import json

from onveef import envelopes, parsers, wsdiscovery
from onveef.client import OnvifClient
from onveef.exceptions import OnvifAuthError


def pages(fetch, token):
    """All results of a search, in pages of five."""
    found = []
    while True:
        page = fetch(search_token=token, max_results=5, wait_time="PT2S")
        found.extend(page["results"])
        if page["state"] == "Completed":
            return found


def discover(target):
    """What answers a probe of `host:port`, and of types that the device does not have."""
    host, port = target.rsplit(":", 1)
    found = wsdiscovery.probe_device(host, port=int(port))
    others = wsdiscovery.probe_device(host, port=int(port), types="dn:NetworkVideoDisplay", timeout_s=1.0)
    assert not others, "a device answered a probe for another type"
    assert len(found) == 1, found
    device = found[0]
    return {
        "url": device.device_service,
        "name": device.name,
        "hardware": device.hardware,
        "endpoint": device.endpoint_reference,
        "scopes": device.scopes,
    }


def pull(client):
    """The first messages of a subscription, which is renewed and ended.

    onveef's own way to fetch them asks httpx for a timeout that httpx refuses to make, so the same request is sent
    without one.
    """
    url = client.events_create_pull_point()["subscription_url"]
    client.events_set_synchronization_point(subscription_url=url)
    answer = client._post_subscription(
        subscription_url=url,
        body=envelopes.events_pull_messages(timeout="PT1S"),
        wsa_action="http://www.onvif.org/ver10/events/wsdl/PullPointSubscription/PullMessagesRequest",
        operation="PullMessages",
    )
    client.events_renew(subscription_url=url)
    client.events_unsubscribe(subscription_url=url)
    return [[message["topic"], message["data"]] for message in parsers.parse_pull_messages(answer)["messages"]]


def explore(url, user, password):
    """Everything that a recorder asks."""
    with OnvifClient(url, username=user, password=password) as client:
        client.connect()
        found = {"information": client.get_device_information(), "services": sorted(client.endpoint.services)}
        profiles = client.get_profiles()
        found["profiles"] = [profile["token"] for profile in profiles]
        found["stream"] = client.get_stream_uri(profile_token=profiles[0]["token"])
        found["messages"] = pull(client)
        recordings = client.get_recordings()
        found["recordings"] = [recording["token"] for recording in recordings]
        found["summary"] = summary = client.get_recording_summary()
        token = client.find_recordings()
        searched = pages(client.get_recording_search_results, token)
        assert len(searched) == len(recordings), searched
        token = client.find_events(
            start_point=summary["DataFrom"],
            end_point=summary["DataUntil"],
            included_recordings=found["recordings"][:1],
            filter_expression="tns1:RecordingHistory/Track/State",
            include_start_state=True,
        )
        found["events"] = len(pages(client.get_event_search_results, token))
        found["attributes"] = client.get_media_attributes(
            recording_tokens=found["recordings"][:1], time=summary["DataFrom"]
        )
        found["replay"] = client.get_replay_uri(recording_token=found["recordings"][0])
        found["timeout"] = client.get_replay_configuration()
        return found


def is_refused(url, user, password):
    """Whether the device keeps out a client with a wrong password, whichever login it tries."""
    with OnvifClient(url, username=user, password=password) as client:
        try:
            client.get_device_information()
        except OnvifAuthError:
            return True
    return False


def main():
    """Drives the device of the command line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("user")
    parser.add_argument("password")
    parser.add_argument("--probe", help="host:port of the device's discovery")
    arguments = parser.parse_args()
    found = {}
    if arguments.probe:
        found["discovered"] = discover(arguments.probe)
    found |= explore(arguments.url, arguments.user, arguments.password)
    found["refused"] = is_refused(arguments.url, arguments.user, "no" + arguments.password)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
