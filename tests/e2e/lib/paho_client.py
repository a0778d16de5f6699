"""The Paho client with queues instead of callbacks."""

import queue
import threading

import paho.mqtt.client as paho
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from e2e import PATIENCE_S, drain, equal

V5, V311 = paho.MQTTv5, paho.MQTTv311


def properties(packet, **values):
    """properties(PacketTypes.PUBLISH, ContentType="x"); None for no value is left out."""
    made = Properties(packet)
    for name, value in values.items():
        if value is not None:
            setattr(made, name, value)
    return made


class Client:
    """Connected when the constructor returns, unless the broker refused (then `connack` says why).

    It does not reconnect by itself unless told to.
    """

    def __init__(self, port, client_id="", version=V5, clean=True, will=None, keep_alive=60, reconnect=False,
                 user=None, **connect_properties):
        self.messages = queue.Queue()
        self.disconnects = queue.Queue()
        self._connacks = queue.Queue()
        self._done = threading.Condition()
        self._subacks, self._unsubacks, self._published = {}, {}, set()
        self.version = version
        arguments = {} if version == V5 else {"clean_session": clean}
        self.client = paho.Client(client_id, protocol=version, **arguments)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = lambda _c, _u, flags, code, props=None: self._connacks.put((flags, code, props))
        self.client.on_message = lambda _c, _u, message: self.messages.put(message)
        self.client.on_subscribe = lambda _c, _u, mid, codes, *_: self._note(self._subacks, mid, codes)
        self.client.on_unsubscribe = lambda _c, _u, mid, *rest: self._note(self._unsubacks, mid, rest)
        self.client.on_publish = lambda _c, _u, mid: self._note(self._published, mid)

        def on_disconnect(client, _userdata, code, _properties=None):
            if not reconnect:
                client.disconnect()  # So that its thread does not connect again.
            self.disconnects.put(code)

        self.client.on_disconnect = on_disconnect
        if will:
            self.client.will_set(**will)
        if user:
            self.client.username_pw_set(*user)
        more = {}
        if version == V5:
            more = {"clean_start": clean, "properties": properties(PacketTypes.CONNECT, **connect_properties)}
        self.client.connect("127.0.0.1", port, keepalive=keep_alive, **more)
        self.client.loop_start()
        self.flags, self.connack, self.properties = self.connected()
        # Paho 1.6 does not keep to the broker's Receive Maximum by itself.
        self.client.max_inflight_messages_set(min(20, getattr(self.properties, "ReceiveMaximum", 20)))

    def connected(self):
        """The next CONNACK: flags, code, properties."""
        return drain(self._connacks, 1, "CONNACK")[0]

    @property
    def session_present(self):
        return bool(self.flags["session present"])

    def _note(self, where, mid, value=None):
        with self._done:
            where.add(mid) if isinstance(where, set) else where.__setitem__(mid, value)
            self._done.notify_all()

    def _await(self, where, mid, what):
        with self._done:
            if not self._done.wait_for(lambda: mid in where, PATIENCE_S):
                raise AssertionError(f"no {what}")
            return None if isinstance(where, set) else where[mid]

    def subscribe(self, topic, qos=0, options=None, identifier=None):
        """Returns the codes of SUBACK as numbers."""
        if self.version == V5:
            options = options or paho.SubscribeOptions(qos)
            made = properties(PacketTypes.SUBSCRIBE, SubscriptionIdentifier=identifier)
            _, mid = self.client.subscribe(topic, options=options, properties=made)
        else:
            _, mid = self.client.subscribe(topic, qos)
        return [getattr(code, "value", code) for code in self._await(self._subacks, mid, "SUBACK")]

    def unsubscribe(self, topic):
        _, mid = self.client.unsubscribe(topic)
        rest = self._await(self._unsubacks, mid, "UNSUBACK")
        codes = rest[1] if len(rest) > 1 else []
        return [code.value for code in (codes if isinstance(codes, list) else [codes])]

    def publish(self, topic, payload=b"", qos=0, retain=False, wait=True, **publish_properties):
        made = properties(PacketTypes.PUBLISH, **publish_properties) if publish_properties else None
        info = self.client.publish(topic, payload, qos, retain, properties=made)
        if wait:
            self._await(self._published, info.mid, f"acknowledgement of {topic}")
        return info.mid

    def published(self, mid):
        self._await(self._published, mid, "acknowledgement")

    def take(self, count=1):
        return drain(self.messages, count, "messages")

    def take_one(self):
        return self.take(1)[0]

    def expect(self, *wanted):
        """The next messages, as (topic, payload, qos, retain)."""
        got = [(message.topic, message.payload.decode(), message.qos, bool(message.retain))
               for message in self.take(len(wanted))]
        equal(got, list(wanted), "messages")

    def disconnected(self):
        """Until the broker has closed. Paho 1.6 overlooks a Reason Code without properties: a Wire sees it."""
        code = drain(self.disconnects, 1, "end of the connection")[0]
        if code == 0:
            raise AssertionError("the client itself has left")

    def leave(self, **disconnect_properties):
        made = properties(PacketTypes.DISCONNECT, **disconnect_properties) if disconnect_properties else None
        if self.version == V5:
            self.client.disconnect(properties=made)
        else:
            self.client.disconnect()
        drain(self.disconnects, 1, "end of the connection")
        self.client.loop_stop()

    def vanish(self):
        """Closes the socket without DISCONNECT."""
        self.client.on_disconnect = None
        self.client.disconnect = lambda: None
        self.client._thread_terminate = True  # There is no public way to end without a DISCONNECT.
        self.client.socket().shutdown(2)
        self.client.loop_stop()
