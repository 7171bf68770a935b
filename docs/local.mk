EXTRA_DIST += \
	docs/README.md \
	docs/style.md \
	docs/debugging.md \
	docs/testing.md
