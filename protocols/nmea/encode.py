"""The sentences that simulated receivers send."""

from .fields import KNOT_DIGITS, angle_fields, date_time_fields, rescaled, text_of
from .sentence import sentence

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .fields import Number


def encode_rmc(
    device_time: str,
    latitude: "Number | None",
    longitude: "Number | None",
    *,
    speed: "Number | None",
    course: "Number | None",
    talker: str = "GN",
) -> str:
    """An RMC sentence: "YYYY-MM-DDThh:mm:ss" UTC, degrees, m/s, degrees. Without a position its status is V."""
    valid = latitude is not None and longitude is not None
    knots = "" if speed is None else text_of(rescaled(speed, 900, 463, -KNOT_DIGITS))
    date, time = date_time_fields(device_time)
    fields = [talker + "RMC", time, "A" if valid else "V"]
    fields += angle_fields(latitude, 2, "NS") + angle_fields(longitude, 3, "EW")
    fields += [knots, "" if course is None else text_of(course), date, "", "", "A" if valid else "N"]
    return sentence(",".join(fields))


def encode_gga(
    device_time: str,
    latitude: "Number | None",
    longitude: "Number | None",
    *,
    altitude: "Number | None",
    satellites: int,
    hdop: "Number | None",
    talker: str = "GN",
) -> str:
    """A GGA sentence: "YYYY-MM-DDThh:mm:ss" UTC, degrees, metres over the sea. Without a position its quality is 0."""
    valid = latitude is not None and longitude is not None
    fields = [talker + "GGA", date_time_fields(device_time)[1]]
    fields += angle_fields(latitude, 2, "NS") + angle_fields(longitude, 3, "EW")
    fields += ["1" if valid else "0", f"{satellites:02d}", "" if hdop is None else text_of(hdop)]
    fields += ["" if altitude is None else text_of(altitude), "M", "", "M", "", ""]
    return sentence(",".join(fields))
