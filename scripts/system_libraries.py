"""Say which shared libraries of the system the simulators need and cannot find.

MuJoCo renders the arm's pictures off screen through EGL and Mesa; SUMO links X11 libraries even without a window. Pip
cannot install these. Prints one Debian package name per line; prints nothing where everything loads. Standard library
only: it runs before anything is installed.
"""

import ctypes
import glob
import sys

#: Shared library -> the Debian or Ubuntu package that brings it.
LIBRARIES = {
    "libEGL.so.1": "libegl1",
    "libGL.so.1": "libgl1",
    "libX11.so.6": "libx11-6",
    "libXext.so.6": "libxext6",
    "libXrender.so.1": "libxrender1",
    "libexpat.so.1": "libexpat1",
    "libatomic.so.1": "libatomic1",
}

#: Mesa's software renderer is opened by EGL at run time, from one of these places.
MESA_DRIVERS = (
    "/usr/lib/*/dri/swrast_dri.so",
    "/usr/lib64/dri/swrast_dri.so",
    "/usr/lib/*/libgallium-*.so",
    "/usr/lib64/libgallium-*.so",
)


def missing_packages() -> list[str]:
    """Return the packages of every library that does not load, sorted."""
    missing = set()
    for library, package in LIBRARIES.items():
        try:
            ctypes.CDLL(library)
        except OSError:
            missing.add(package)
    if not any(glob.glob(pattern) for pattern in MESA_DRIVERS):
        missing.add("libgl1-mesa-dri")
    return sorted(missing)


if __name__ == "__main__":
    if not sys.platform.startswith("linux"):
        print(f"no list of system packages for {sys.platform}: known for Debian and Ubuntu only", file=sys.stderr)
        sys.exit(0)
    print("\n".join(missing_packages()), end="")
