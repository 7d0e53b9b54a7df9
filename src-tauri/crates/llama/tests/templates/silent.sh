#!/bin/sh
# Stands for a renderer that never answers.
exec sleep 100
