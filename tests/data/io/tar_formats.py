"""usage: tar_formats.py FOLDER: writes the same members with Python's tarfile in each of its formats, and a list of what
its reader finds: a line "NAME SIZE KIND SUM" for each member; SUM is that of the content's bytes."""
import io
import os
import sys
import tarfile

folder = sys.argv[1]
names = ["a.json", "d" * 90 + "/" + "e" * 60 + ".txt", "\u00e9\u00df/\u4e2d.txt", "x" * 100]
names_pax = names + ["p/" * 200 + "q.json", "n" * 300, "line\nbreak.json"]
kinds = {tarfile.SYMTYPE: 2, tarfile.LNKTYPE: 2, tarfile.FIFOTYPE: 2, tarfile.CHRTYPE: 2, tarfile.DIRTYPE: 1}

for label, form in [("ustar", tarfile.USTAR_FORMAT), ("gnu", tarfile.GNU_FORMAT), ("pax", tarfile.PAX_FORMAT)]:
    path = os.path.join(folder, label + ".tar")
    with tarfile.open(path, "w", format=form) as tar:
        for i, name in enumerate(names if label == "ustar" else names_pax):
            info = tarfile.TarInfo(name)
            content = bytes((i * 31 + k) % 256 for k in range([0, 1, 511, 512, 513, 70000, 3][i]))
            info.size = len(content)
            info.mtime = 1.5 if label == "pax" else 1
            tar.addfile(info, io.BytesIO(content))
        for kind in kinds:
            info = tarfile.TarInfo("other" + kind.decode())
            info.type = kind
            info.linkname = "a.json" if label == "ustar" else "l" * 200
            tar.addfile(info)
    with tarfile.open(path) as tar, open(os.path.join(folder, label + ".list"), "w") as out:
        for m in tar:
            total = sum(tar.extractfile(m).read()) if m.isfile() else 0
            name = m.name + ("/" if m.isdir() else "")
            out.write(f"{name} {m.size} {kinds.get(m.type, 0)} {total}\n")
