"""An envelope says exactly what was signed, by whom, as what; everything else is refused."""

import json

import pytest

from genba.errors import SignatureError
from genba.trust.dsse import Envelope, pae, payload_of, sign
from genba.trust.signing import SigningKey

KIND = "application/vnd.test+json"
PLANT, PARTNER, STRANGER = SigningKey.generate(), SigningKey.generate(), SigningKey.generate()
TRUSTED = {key.public.id: key.public for key in (PLANT, PARTNER)}


def signers(envelope: Envelope, trusted=TRUSTED, kind=KIND):
    return envelope.signers(trusted, payload_type=kind, place="here")


def test_the_encoding_is_the_protocols():
    # The example in the DSSE protocol's text.
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    # Lengths count bytes of UTF-8, of which 現 has three.
    assert pae("現", b"") == b"DSSEv1 3 \xe7\x8f\xbe 0 "


def test_every_trusted_signer_is_named_and_others_are_passed_over():
    envelope = sign(KIND, {"a": 1}, PLANT)
    assert signers(envelope) == (PLANT.public.id,)
    more = envelope.signed_by(STRANGER).signed_by(PARTNER)
    assert signers(more) == (PLANT.public.id, PARTNER.public.id)
    assert more.digest == envelope.digest
    # Signing again replaces one's own signature and no other.
    assert len(more.signed_by(PLANT).signatures) == 3


def test_stored_and_read_it_is_the_same():
    envelope = sign(KIND, {"b": [1, 2.5, "現"], "a": None}, PLANT, PARTNER)
    again = Envelope.from_bytes(envelope.to_bytes(), place="here")
    assert again == envelope
    assert payload_of(again, place="here") == {"a": None, "b": [1, 2.5, "現"]}


def test_a_statement_of_another_type_is_refused():
    envelope = sign("application/other", {}, PLANT)
    with pytest.raises(SignatureError, match="here: a statement of type 'application/other', expected"):
        signers(envelope)
    # Written as the expected type it is no longer what was signed.
    with pytest.raises(SignatureError, match="does not verify: it is forged"):
        signers(Envelope(KIND, envelope.payload, envelope.signatures))


def test_nobody_trusted_means_refused():
    with pytest.raises(SignatureError, match=f"signed by {STRANGER.public.id}, expected one of 2 trusted keys"):
        signers(sign(KIND, {}, STRANGER))
    with pytest.raises(SignatureError, match="signed by nobody"):
        signers(sign(KIND, {}))


def test_one_forged_signature_spoils_the_envelope():
    envelope = sign(KIND, {"a": 1}, PLANT, PARTNER)
    other = sign(KIND, {"a": 2}, PARTNER)
    forged = Envelope(KIND, envelope.payload, (envelope.signatures[0], other.signatures[0]))
    with pytest.raises(SignatureError, match=f"by {PARTNER.public.id} does not verify"):
        signers(forged)


def test_every_changed_byte_of_a_stored_envelope_is_found():
    data = sign(KIND, {"a": 1}, PLANT).to_bytes()
    for place in range(len(data)):
        for bit in (0x01, 0x20):
            changed = bytearray(data)
            changed[place] ^= bit
            with pytest.raises(SignatureError, match="here"):
                signers(Envelope.from_bytes(bytes(changed), place="here"))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: t.pop("payload"), "KeyError"),
        (lambda t: t.update(payloadType=4), "canonical form"),
        (lambda t: t.update(more=1), "canonical form"),
        (lambda t: t["signatures"][0].update(keyid=4), "canonical form"),
        (lambda t: t.update(signatures=4), "not iterable"),
        (lambda t: t.update(payload="?"), "here"),
        (lambda t: t["signatures"].append(t["signatures"][0]), "two signatures by one key"),
    ],
)
def test_what_is_no_envelope_is_refused(change, reason):
    table = json.loads(sign(KIND, {"a": 1}, PLANT).to_bytes())
    change(table)
    with pytest.raises(SignatureError, match=reason):
        Envelope.from_bytes(json.dumps(table, sort_keys=True, separators=(",", ":")).encode(), place="here")


def test_white_space_is_refused_too():
    data = sign(KIND, {"a": 1}, PLANT).to_bytes()
    with pytest.raises(SignatureError, match="canonical form"):
        Envelope.from_bytes(data + b"\n", place="here")
    with pytest.raises(SignatureError, match="not a DSSE envelope"):
        Envelope.from_bytes(b"[" * 100_000, place="here")


@pytest.mark.parametrize("payload", [b"", b"[]", b'{"a": 1}', b'{"a":1,"a":1}', b'{"a":NaN}'])
def test_a_payload_that_is_no_canonical_table_is_refused(payload):
    envelope = Envelope(KIND, payload, ()).signed_by(PLANT)
    assert signers(envelope)
    with pytest.raises(SignatureError, match="here: what was signed is not canonical JSON"):
        payload_of(envelope, place="here")
