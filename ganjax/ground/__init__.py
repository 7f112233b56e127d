"""What everything else stands on: errors for the user to read, schedules, grids of pictures.

``errors.py`` has the two exceptions that become one line on the terminal, ``checks.py`` what a number must be,
``schedules.py`` the numbers that change with the images seen, ``grids.py`` pictures made of many images, ``fonts.py``
the names in them, ``files.py`` files that appear whole. Nothing here imports from a wing.
"""
