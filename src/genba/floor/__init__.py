"""The factory floor: what stands between a planner and the lines, over OPC UA or MQTT."""
