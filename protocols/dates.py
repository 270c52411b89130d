"""Dates of the Gregorian calendar by whole numbers: there is no datetime on a microcontroller."""

DAY_S = 86_400


def date_of(day: int) -> "tuple[int, int, int]":
    """(year, month, day) of the day that is so many days after 1970-01-01, in the Gregorian calendar.

    Years are counted from March, so that the day that some have more is their last one.
    """
    day += 719_468  # from 0000-03-01
    era, day_of_era = divmod(day, 146_097)
    year_of_era = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year_of_era + year_of_era // 4 - year_of_era // 100)
    month_from_march = (5 * day_of_year + 2) // 153
    month = month_from_march + 3 if month_from_march < 10 else month_from_march - 9
    year = era * 400 + year_of_era + (1 if month <= 2 else 0)
    return year, month, day_of_year - (153 * month_from_march + 2) // 5 + 1


def day_of(year: int, month: int, day: int) -> int:
    """How many days after 1970-01-01 a date is; what `date_of` undoes."""
    year -= 1 if month <= 2 else 0
    era, year_of_era = divmod(year, 400)
    day_of_year = (153 * (month - 3 if month > 2 else month + 9) + 2) // 5 + day - 1
    return era * 146_097 + year_of_era * 365 + year_of_era // 4 - year_of_era // 100 + day_of_year - 719_468
