def schedule_ranges(rows):
    return None
