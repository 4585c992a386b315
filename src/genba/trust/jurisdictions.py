"""Codes of jurisdictions: which country's law (ISO 3166-1 alpha-2, ``"JP"``) or part of it (ISO 3166-2, ``"JP-23"``) applies.

A part lies in its country; nothing else lies in anything: the EU is written as the list of its members. Parts are known of
the countries in ``PARTS``; elsewhere name the country.

Source: ISO 3166-1 as in the tz database's iso3166.tab (public domain); ISO 3166-2 for the parts.
"""

from __future__ import annotations

from genba.errors import nearest

COUNTRIES = frozenset(
    """
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR BS BT BV BW BY
    BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ EC EE EG EH ER ES ET FI FJ FK
    FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR
    IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK
    ML MM MN MO MP MQ MR MS MT MU MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM
    PN PR PS PT PW PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF
    TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM US UY UZ VA VC VE VG VI VN VU WF WS YE YT ZA ZM ZW
    """.split()  # noqa: SIM905 (250 quoted codes read worse)
)

#: country -> its parts: prefectures of Japan, Länder of Germany, states of the United States
PARTS = {
    "JP": frozenset(f"{number:02d}" for number in range(1, 48)),
    "DE": frozenset("BB BE BW BY HB HE HH MV NI NW RP SH SL SN ST TH".split()),  # noqa: SIM905
    "US": frozenset(
        """
        AK AL AR AZ CA CO CT DC DE FL GA HI IA ID IL IN KS KY LA MA MD ME MI MN MO MS MT NC ND NE NH NJ NM
        NV NY OH OK OR PA RI SC SD TN TX UT VA VT WA WI WV WY
        """.split()  # noqa: SIM905
    ),
}


def check_code(code: str) -> None:
    """Refuse what is no code.

    Raises:
        ValueError: saying what was expected.
    """
    country, dash, part = code.partition("-")
    if country not in COUNTRIES:
        raise ValueError(
            f"got {code!r}, expected a country as ISO 3166-1 writes it (e.g. 'JP') or its part as ISO 3166-2 does (e.g. "
            f"'JP-23'){nearest(code, COUNTRIES) if len(code) == 2 and code.isupper() else ''}"
        )
    if dash and country not in PARTS:
        raise ValueError(f"got {code!r}, but no parts of {country} are known here: name the country, {country!r}")
    if dash and part not in PARTS[country]:
        raise ValueError(f"got {code!r}, which is no part of {country}; known: {', '.join(sorted(PARTS[country]))}")


def is_within(code: str, other: str) -> bool:
    """Return whether ``code`` is ``other`` or a part of it."""
    return code == other or code.partition("-")[0] == other
