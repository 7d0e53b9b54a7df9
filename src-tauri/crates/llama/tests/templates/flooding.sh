#!/bin/sh
# Stands for a renderer that writes without end.
exec yes
