"""Google Cloud Storage's JSON API as a server for tests, since no emulator that installs keeps its promises.

What is here follows Google's pages, read 2026-11, below https://cloud.google.com/storage/docs:

- json_api/v1/objects/insert, resumable-uploads, performing-resumable-uploads: uploads in one piece and in chunks of
  256 KiB times something, of which nothing is an object before the last; the state of one is a 308 with a `Range`.
- hashes-etags: a CRC32C or MD5 that came with an upload and is another than that of the bytes makes it fail.
- request-preconditions: generations and metagenerations; what does not hold is a 412; generation 0 is no object.
- json_api/v1/objects/rewrite: a new generation; where the class changes it may take several calls, each with the token
  of the one before. A resource in the body takes the place of the old object's description.
- json_api/v1/objects/list: pages in the order of names.
- json_api/v1/buckets/patch: parts of a bucket, such as its rules.
- autoclass: whatever is written or rewritten is in Standard, whatever class is asked for.
- requester-pays: a 400 without a project that pays. bucket-lock: a 403 for deleting what must be kept.
- encryption/using-customer-managed-keys: an object names the version of the key that it is encrypted with.

Objects live in the memory of the process. Below `/_tests` is what no bucket has: a log of what was asked, and answers
that are to go wrong.
"""

import io
import json
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit
from uuid import uuid4

from gcs_objects import Bucket, Refusal, Session, State, StoredObject, check, check_source

_CHUNK_BYTES = 256 << 10
_MOST_LISTED = 1000
_REWRITTEN_BYTES = 1 << 20
"""What one call rewrites of an object that changes its class; Google does more at a time."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "_Server"

    def log_message(self, *_: Any) -> None:
        """Say nothing on stderr."""

    def do_GET(self) -> None:
        self._answered(self._get)

    def do_POST(self) -> None:
        self._answered(self._post)

    def do_PUT(self) -> None:
        self._answered(self._put)

    def do_PATCH(self) -> None:
        self._answered(self._patch)

    def do_DELETE(self) -> None:
        self._answered(self._delete)

    def _answered(self, act: Any) -> None:
        parts = urlsplit(self.path)
        self.parameters = dict(parse_qsl(parts.query))
        self.parts = [unquote(part) for part in parts.path.strip("/").split("/")]
        length = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(length)
        if len(self.body) < length:  # cut off
            self.close_connection = True
            return
        state, wire, self.wfile = self.server.state, self.wfile, io.BytesIO()
        with state.lock:
            try:
                if self.parts[0] == "_tests":
                    self._of_tests()
                else:
                    state.log.append(f"{self.command} {parts.path}?{parts.query}")
                    self._act(act)
            except Refusal as refusal:
                errors = [{"message": str(refusal), "domain": "global", "reason": refusal.reason}]
                document = {"error": {"code": refusal.status, "message": str(refusal), "errors": errors}}
                self._json(document, refusal.status)
        answer, self.wfile = self.wfile.getbuffer(), wire
        with suppress(ConnectionError):  # whoever asked was killed
            wire.write(answer)

    def _act(self, act: Any) -> None:
        bucket = self._state.buckets.get(self._named()[0] if "b" in self.parts[:-1] else "")
        if bucket and bucket.refusals:
            refusal = bucket.refusals.pop(0)
            if refusal["late"]:
                answered, self.wfile = self.wfile, io.BytesIO()
                act()
                self.wfile = answered
            raise Refusal(refusal["status"], refusal["message"])
        must_pay = bucket and bucket.resource.get("billing", {}).get("requesterPays")
        if must_pay and not self.parameters.keys() & {"userProject", "upload_id"}:
            raise Refusal(400, "Bucket is a requester pays bucket but no user project provided.", "required")
        act()

    def _of_tests(self) -> None:
        if self.parts[1] == "log":
            self._json(self._state.log)
            return
        asked = json.loads(self.body)
        if self.parts[1] == "refuse":
            self._state.bucket(asked["bucket"]).refusals += [asked] * asked["times"]
        else:
            for name in asked["names"]:
                self._state.store(asked["bucket"], {"name": name}, b"filled", {})
        self._json({})

    def _json(self, document: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        self._bytes(json.dumps(document).encode(), status, {"Content-Type": "application/json", **(headers or {})})

    def _bytes(self, body: bytes, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    @property
    def _state(self) -> State:
        return self.server.state

    def _named(self) -> tuple[str, str | None]:
        """The bucket and the object of a path such as storage/v1/b/BUCKET/o/OBJECT, whose name may have slashes."""
        at = self.parts.index("b")
        bucket = self.parts[at + 1]
        rest = self.parts[at + 2 :]
        return bucket, "/".join(rest[1:]) if len(rest) > 1 else None

    def _get(self) -> None:
        bucket, name = self._named()
        if name is not None:
            found = self._state.object(bucket, name)
            if self.parameters.get("generation") not in {None, found.resource["generation"]}:
                raise Refusal(404, f"No such object: {bucket}/{name}", "notFound")
            if self.parameters.get("alt") == "media":
                self._media(found)
            else:
                self._json(found.resource)
        elif self.parts[-1] == "o":
            self._list(bucket)
        else:
            self._json(self._state.bucket(bucket).resource)

    def _media(self, found: StoredObject) -> None:
        headers = {
            "X-Goog-Generation": found.resource["generation"],
            "X-Goog-Storage-Class": found.resource["storageClass"],
            "X-Goog-Hash": f"crc32c={found.resource['crc32c']}",
            "Content-Type": found.resource.get("contentType", "application/octet-stream"),
        }
        size = len(found.body)
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if asked is None:
            self._bytes(found.body, 200, headers)
            return
        if asked[1]:
            start, end = int(asked[1]), min(int(asked[2] or size), size - 1)
        else:
            start, end = max(size - int(asked[2]), 0), size - 1
        if start >= size:
            raise Refusal(416, "Request range not satisfiable", "requestedRangeNotSatisfiable")
        self._bytes(found.body[start : end + 1], 206, {**headers, "Content-Range": f"bytes {start}-{end}/{size}"})

    def _list(self, bucket: str) -> None:
        prefix, after = self.parameters.get("prefix", ""), self.parameters.get("pageToken", "")
        most = min(int(self.parameters.get("maxResults", _MOST_LISTED)), _MOST_LISTED)
        objects = self._state.bucket(bucket).objects
        names = sorted((n for n in objects if n.startswith(prefix) and n > after), key=lambda name: name.encode())
        shown = re.search(r"items\(([^)]*)\)", self.parameters.get("fields", ""))
        fields = shown[1].split(",") if shown else None
        items = [
            {key: value for key, value in objects[name].resource.items() if fields is None or key in fields}
            for name in names[:most]
        ]
        document: dict[str, Any] = {"kind": "storage#objects", "items": items}
        if len(names) > most:
            document["nextPageToken"] = names[most - 1]
        self._json(document)

    def _post(self) -> None:
        if self.parts[0] == "upload":
            self._begin_upload()
        elif "rewriteTo" in self.parts:
            self._rewrite()
        else:
            resource = json.loads(self.body)
            name = resource["name"]
            if name in self._state.buckets:
                raise Refusal(409, "You already own this bucket.", "conflict")
            made = {"kind": "storage#bucket", "metageneration": "1", "storageClass": "STANDARD", **resource}
            self._state.buckets[name] = Bucket(made)
            self._json(made)

    def _begin_upload(self) -> None:
        bucket = self.parts[self.parts.index("b") + 1]
        self._state.bucket(bucket)
        kind, conditions = self.parameters["uploadType"], self.parameters
        given = {"name": self.parameters.get("name"), "kmsKeyName": self.parameters.get("kmsKeyName")}
        if kind == "media":
            self._json(self._state.store(bucket, given, self.body, conditions).resource)
        elif kind == "multipart":
            boundary = re.search(r'boundary="?([^";]+)"?', self.headers["Content-Type"])
            assert boundary
            _, first, second, _ = self.body.split(b"--" + boundary[1].encode(), 3)
            resource = json.loads(first.split(b"\r\n\r\n", 1)[1])
            headers, body = second.split(b"\r\n\r\n", 1)
            body = body.removesuffix(b"\r\n")
            if named := re.search(rb"(?i)content-type: *([^\r\n]+)", headers):
                given["contentType"] = named[1].decode()
            self._json(self._state.store(bucket, {**given, **resource}, body, conditions).resource)
        else:
            resource = json.loads(self.body) if self.body else {}
            given["contentType"] = self.headers.get("X-Upload-Content-Type")
            session = Session(bucket, {**given, **resource}, conditions)
            check(self._state.bucket(bucket).objects.get(session.resource["name"]), conditions)
            identity = uuid4().hex
            self._state.sessions[identity] = session
            host = f"http://{self.headers['Host']}"
            where = f"{host}/upload/storage/v1/b/{bucket}/o?uploadType=resumable&upload_id={identity}"
            self._json({}, headers={"Location": where})

    def _put(self) -> None:
        """A chunk of a resumable upload, or the question how much of it is there."""
        session = self._state.sessions.get(self.parameters.get("upload_id", ""))
        if session is None:
            raise Refusal(404, "No such upload.", "notFound")
        asked = re.fullmatch(r"bytes (?:(\d+)-(\d+)|\*)/(\d+|\*)", self.headers.get("Content-Range", "bytes */*"))
        assert asked
        if asked[1] is not None:
            if int(asked[1]) != len(session.received):
                raise Refusal(503, f"{len(session.received)} bytes are there, not {asked[1]}", "backendError")
            if asked[3] == "*" and len(self.body) % _CHUNK_BYTES:
                raise Refusal(400, "A chunk must be a multiple of 256 KiB.")
            session.received += self.body
        if asked[3] != "*" and len(session.received) == int(asked[3]):
            hashed = dict(part.split("=", 1) for part in self.headers.get("X-Goog-Hash", "").split(",") if part)
            wanted = {"crc32c": hashed.get("crc32c"), "md5Hash": hashed.get("md5")}
            resource = {**session.resource, **{k: v for k, v in wanted.items() if v}}
            stored = self._state.store(session.bucket, resource, bytes(session.received), session.conditions)
            del self._state.sessions[self.parameters["upload_id"]]
            self._json(stored.resource)
            return
        there = {"Range": f"bytes=0-{len(session.received) - 1}"} if session.received else {}
        self._bytes(b"", 308, there)

    def _rewrite(self) -> None:
        at = self.parts.index("rewriteTo")
        source_bucket, source_name = self.parts[3], "/".join(self.parts[5:at])
        bucket, name = self.parts[at + 2], "/".join(self.parts[at + 4 :])
        source = self._state.object(source_bucket, source_name)
        check_source(source, self.parameters)
        given = json.loads(self.body) if self.body else {}
        check(self._state.bucket(bucket).objects.get(name), self.parameters)
        of_source = f"{source.resource['generation']}-"
        token = self.parameters.get("rewriteToken", f"{of_source}0")
        if not token.startswith(of_source):
            raise Refusal(400, "Invalid rewrite token.")
        done = int(token.removeprefix(of_source)) + _REWRITTEN_BYTES
        if given.get("storageClass") not in {None, source.resource["storageClass"]} and done < len(source.body):
            self._json({
                "kind": "storage#rewriteResponse", "done": False, "objectSize": str(len(source.body)),
                "totalBytesRewritten": str(done), "rewriteToken": f"{of_source}{done}",
            })  # fmt: skip
            return
        # Where the request describes the new object, nothing of the old one's description is taken over.
        resource = {**(given or source.resource), "name": name}
        resource.pop("crc32c", None)
        resource.pop("md5Hash", None)
        resource.pop("kmsKeyName", None)
        if "destinationKmsKeyName" in self.parameters:
            resource["kmsKeyName"] = self.parameters["destinationKmsKeyName"]
        stored = self._state.store(bucket, resource, source.body, self.parameters)
        size = stored.resource["size"]
        self._json({
            "kind": "storage#rewriteResponse", "done": True, "objectSize": size, "totalBytesRewritten": size,
            "resource": stored.resource,
        })  # fmt: skip

    def _patch(self) -> None:
        bucket, name = self._named()
        changes = json.loads(self.body)
        if name is None:
            place = self._state.bucket(bucket)
            wanted = self.parameters.get("ifMetagenerationMatch")
            if wanted not in {None, place.resource["metageneration"]}:
                raise Refusal(412, "At least one of the pre-conditions you specified did not hold.", "conditionNotMet")
            place.resource.update(changes, metageneration=str(int(place.resource["metageneration"]) + 1))
            self._json(place.resource)
            return
        found = self._state.object(bucket, name)
        check(found, self.parameters)
        found.resource.update(changes, metageneration=str(int(found.resource["metageneration"]) + 1))
        self._json(found.resource)

    def _delete(self) -> None:
        bucket, name = self._named()
        if name is None:
            self._state.bucket(bucket)
            del self._state.buckets[bucket]
        else:
            check(self._state.object(bucket, name), self.parameters)
            if "retentionPolicy" in self._state.bucket(bucket).resource:
                message = f"Object '{bucket}/{name}' is subject to bucket's retention policy and cannot be deleted"
                raise Refusal(403, message, "retentionPolicyNotMet")
            del self._state.bucket(bucket).objects[name]
        self._bytes(b"", 204, {})


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.state = State()


if __name__ == "__main__":
    _Server(int(sys.argv[1])).serve_forever()
