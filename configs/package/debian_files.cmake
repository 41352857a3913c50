# Run by cpack on the files of the .deb: adds what Debian's policy asks for: copyright, changelog, compressed pages.
set(root ${CPACK_TEMPORARY_DIRECTORY}/usr)
set(doc ${root}/share/doc/lorac)
file(MAKE_DIRECTORY ${doc})
file(WRITE ${doc}/copyright "Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: lorac

Files: *
Copyright: 2026 the authors of lorac
License: Apache-2.0
 On Debian systems the text of this licence is in /usr/share/common-licenses/Apache-2.0.
")
file(WRITE ${doc}/changelog "lorac (${CPACK_PACKAGE_VERSION}) unstable; urgency=medium

  * Release ${CPACK_PACKAGE_VERSION}.

 -- ${CPACK_PACKAGE_CONTACT}  Tue, 01 Dec 2026 00:00:00 +0000
")
execute_process(COMMAND gzip -9nf ${doc}/changelog ${root}/share/man/man1/lorac.1)
